//! Tasks that run as long as the agent does: one that ends before is an error, which says which.

use std::{borrow::Cow, collections::HashMap};

use tokio::task::{Id, JoinError, JoinSet};

/// A task has ended by itself.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the task {name:?} ended {how}, without which the agent is not whole")]
pub struct Ended {
    name: Cow<'static, str>,
    how: String,
}

/// The tasks that run.
#[derive(Debug, Default)]
pub struct Tasks {
    set: JoinSet<()>,
    names: HashMap<Id, Cow<'static, str>>,
}

impl Tasks {
    /// Starts one.
    pub fn start(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let id = self.set.spawn(task).id();
        self.names.insert(id, name.into());
    }

    /// Waits until one has ended. Cancel-safe.
    pub async fn ended(&mut self) -> Ended {
        match self.set.join_next_with_id().await {
            None => std::future::pending().await,
            Some(Ok((id, ()))) => self.name(id, "by itself".to_owned()),
            Some(Err(error)) => self.name(error.id(), how(error)),
        }
    }

    /// Waits for all of them, which were told to end; one that fails meanwhile is told.
    pub async fn finish(mut self) {
        while let Some(ended) = self.set.join_next_with_id().await {
            if let Err(error) = ended {
                tracing::error!("{}", self.name(error.id(), how(error)));
            }
        }
    }

    fn name(&self, id: Id, how: String) -> Ended {
        Ended { name: self.names.get(&id).cloned().unwrap_or("unknown".into()), how }
    }
}

/// What ended a task.
pub fn how(error: JoinError) -> String {
    match error.try_into_panic() {
        Ok(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            format!("in a panic ({})", text.unwrap_or_else(|| "without a word".to_owned()))
        }
        Err(error) => format!("as {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_is_named_with_what_ended_it() {
        let mut tasks = Tasks::default();
        tasks.start("for ever", std::future::pending());
        tasks.start("api", async { panic!("the {} fell", "sky") });
        let ended = tasks.ended().await.to_string();
        assert!(ended.contains("\"api\" ended in a panic (the sky fell)"), "{ended}");
        tasks.start("moves", async {});
        let ended = tasks.ended().await.to_string();
        assert!(ended.contains("\"moves\" ended by itself"), "{ended}");
    }
}
