//! What the verbs that list something share: which rows, in which order, and how they are drawn.

use std::marker::PhantomData;

use anyhow::anyhow;
use clap::builder::{NonEmptyStringValueParser, PossibleValuesParser};

use super::{
    exit::{Exit, Failure},
    print,
    service::ServiceArg,
};
use crate::render::{self, Listed, Output};

/// Flags of every verb that lists rows of type `T`.
#[derive(Debug, clap::Args)]
pub(super) struct List<T: Listed> {
    /// Only what is in this namespace, which is also that of a NAME alone
    #[arg(short, long, value_name = "NAMESPACE", value_parser = NonEmptyStringValueParser::new())]
    namespace: Option<String>,

    /// What is in all namespaces, as without --namespace
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,

    /// Leave the header of the table out
    #[arg(long)]
    no_headers: bool,

    /// Sort by this column of the table or of -o wide, ascending
    #[arg(long, value_name = "COLUMN", ignore_case = true, value_parser = columns::<T>())]
    sort_by: Option<String>,

    #[arg(skip)]
    rows: PhantomData<T>,
}

fn columns<T: Listed>() -> PossibleValuesParser {
    PossibleValuesParser::new(T::COLUMNS.iter().map(|(name, _)| *name))
}

impl<T: Listed> List<T> {
    /// The namespace, where one is given.
    pub(super) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// The Service with its namespace. Fails where another namespace is listed than its own.
    pub(super) fn service(
        &self,
        service: Option<&ServiceArg>,
    ) -> Result<Option<ServiceArg>, Failure> {
        let Some(found) = service.map(|service| service.within(self.namespace())) else {
            return Ok(None);
        };
        match self.namespace() {
            Some(listed) if listed != found.namespace() => Err(Failure::new(
                Exit::Usage,
                anyhow!(
                    "{}/{} is not in the namespace {listed}: leave one of both out",
                    found.namespace(),
                    found.name()
                ),
            )),
            _ => Ok(Some(found)),
        }
    }

    /// Prints those of the rows that are wanted, sorted.
    pub(super) fn show(&self, output: Output, rows: Vec<T>) -> Result<Exit, Failure> {
        let rows = self.arranged(rows);
        if let Some(namespace) = self.namespace().filter(|_| rows.is_empty()) {
            print::note(&format!("nothing of namespace {namespace} is known on this node"));
        }
        print::result(&render::list(output, &rows, !self.no_headers)?)?;
        Ok(Exit::Fine)
    }

    fn arranged(&self, mut rows: Vec<T>) -> Vec<T> {
        if let Some(namespace) = self.namespace() {
            rows.retain(|row| row.namespace() == namespace);
        }
        if let Some(column) = &self.sort_by {
            render::sort(&mut rows, column);
        }
        rows
    }
}
