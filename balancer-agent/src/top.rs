//! What happens now: a screen, a table or JSON of rates, from looks at the same counters as everything
//! else that is shown. Nothing runs or counts for it while nobody looks.
//!
//! - [`gather`]: looks, as often as they may be taken.
//! - [`model`]: from looks to what is shown (pure); [`rates`] are bytes a second of connections, [`port`]
//!   is what Service ports are known by.
//! - [`figures`], [`columns`]: how it is written, and what stands in which column.
//! - [`state`]: what keys do, and [`page`]: the rows that are shown then, in their [`order`], each as the
//!   [`row`] that it was before (pure).
//! - [`screen`]: draws that with ratatui, on any backend of it.
//! - [`guard`]: gives the terminal back, whatever becomes of this process.
//! - [`live`]: the loop that waits for keys, looks, signals.
//! - [`plain`]: lines for pipes and files.

pub mod columns;
pub mod figures;
pub mod gather;
pub mod guard;
pub mod live;
pub mod model;
pub mod order;
pub mod page;
pub mod plain;
pub mod port;
pub mod rates;
pub mod row;
pub mod screen;
pub mod state;

#[cfg(test)]
mod testing;
