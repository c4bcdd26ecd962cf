//! Connections from outside of the nodes, through node ports and other addresses.

mod choice;
mod ends;
mod load;
mod stage;
mod udp;
mod upkeep;
