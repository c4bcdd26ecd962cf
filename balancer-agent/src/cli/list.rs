//! What the verbs that list something share: which rows, in which order, and how they are drawn.

use std::marker::PhantomData;

use clap::builder::PossibleValuesParser;

use super::{
    exit::{Exit, Failure},
    service::Within,
    watch::{self, Seen, Shown},
};
use crate::render::{self, Listed, Output};

/// Flags of every verb that lists rows of type `T`.
#[derive(Debug, clap::Args)]
pub(super) struct Rows<T: Listed> {
    /// Leave the header of the table out
    #[arg(long)]
    no_headers: bool,

    /// Sort by this column of the table or of -o wide, ascending
    #[arg(long, value_name = "COLUMN", ignore_case = true, value_parser = columns::<T>())]
    sort_by: Option<String>,

    /// Go on until Ctrl-C, or until the reader has gone: on a terminal all is shown anew, elsewhere a
    /// line is appended for each row that comes, changes and goes
    #[arg(short, long)]
    watch: bool,

    #[arg(skip)]
    rows: PhantomData<T>,
}

/// The same, and the namespace.
#[derive(Debug, clap::Args)]
pub(super) struct List<T: Listed> {
    #[command(flatten)]
    pub(super) within: Within,

    /// What is in all namespaces, as without --namespace
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,

    #[command(flatten)]
    rows: Rows<T>,
}

fn columns<T: Listed>() -> PossibleValuesParser {
    PossibleValuesParser::new(T::COLUMNS.iter().map(|(name, _)| *name))
}

/// What was found, and what is to be said where the agent does not answer.
pub(super) type Found<T> = (Vec<T>, Option<String>);

impl<T: Listed + Clone> Rows<T> {
    /// Prints what is found, sorted.
    pub(super) fn show(
        &self,
        output: Output,
        mut find: impl FnMut() -> Result<Found<T>, Failure>,
    ) -> Result<Exit, Failure> {
        self.watch(output, || {
            let (rows, away) = find()?;
            Ok(Seen { rows, notes: away.into_iter().collect() })
        })
    }

    fn watch(
        &self,
        output: Output,
        mut look: impl FnMut() -> Result<Seen<T>, Failure>,
    ) -> Result<Exit, Failure> {
        let shown = Shown { output, headers: !self.no_headers, follows: self.watch };
        watch::show(shown, || {
            let mut seen = look()?;
            if let Some(column) = &self.sort_by {
                render::sort(&mut seen.rows, column);
            }
            Ok(seen)
        })
    }
}

impl<T: Listed + Clone> List<T> {
    /// Prints what is found of the namespace, sorted.
    pub(super) fn show(
        &self,
        output: Output,
        mut find: impl FnMut() -> Result<Found<T>, Failure>,
    ) -> Result<Exit, Failure> {
        self.rows.watch(output, || {
            let (mut rows, away) = find()?;
            let mut notes: Vec<_> = away.into_iter().collect();
            if let Some(namespace) = self.within.namespace() {
                rows.retain(|row| row.namespace() == namespace);
                if rows.is_empty() {
                    notes.push(format!("nothing of namespace {namespace} is known on this node"));
                }
            }
            Ok(Seen { rows, notes })
        })
    }
}
