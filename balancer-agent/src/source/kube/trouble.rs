//! What an error of the API server means.

use std::error::Error as _;

use kube::{Error, core::Status};

/// How messages begin that say that the API server is away, whatever each attempt comes to.
const AWAY: &str = "does not serve: ";

/// What to do after an error, once some time has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Go on from the last version that is known.
    Resume,
    /// Go on with a new client, which reads the credentials again.
    Renew,
    /// What was missed can't be had any more: list everything.
    StartOver,
    /// The server does not have streaming lists: list in pages.
    Page,
    /// The server knows no such version: list everything, of whatever version.
    Forget,
}

/// Something that is in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What to do.
    pub remedy: Remedy,
    /// What is wrong, for people; none where it is in the order of things.
    pub message: Option<String>,
}

impl Trouble {
    /// What an error means; `streaming` where a streaming list was asked for.
    pub fn of(error: &Error, streaming: bool) -> Self {
        let (remedy, hint) = match error {
            Error::Api(status) => return Self::of_status(status, streaming),
            Error::Auth(_) | Error::RustlsTls(_) => {
                (Remedy::Renew, "check the credentials and certificates of the agent")
            }
            Error::SerdeError(_) => {
                (Remedy::Resume, "check what stands between this node and the API server")
            }
            _ => {
                (Remedy::Renew, "check that the API server runs and can be reached from this node")
            }
        };
        let text = chain(error);
        // Who can be reached and is another one is not away.
        let is_away = !matches!(error, Error::Auth(_) | Error::RustlsTls(_) | Error::SerdeError(_))
            && !text.contains("certificate");
        let away = if is_away { AWAY } else { "" };
        Self { remedy, message: Some(format!("{away}{text}; {hint}")) }
    }

    /// What a Status means: the answer to a request, or the end of a watch.
    pub fn of_status(status: &Status, streaming: bool) -> Self {
        let told = |remedy, hint: &str| {
            let away = if matches!(status.code, 429 | 500..) { AWAY } else { "" };
            let text = format!("{away}it answers {} ({}); {hint}", status.code, status.message);
            Self { remedy, message: Some(text) }
        };
        match status.code {
            410 => Self { remedy: Remedy::StartOver, message: None },
            400 | 422 if streaming => Self { remedy: Remedy::Page, message: None },
            504 if status.message.contains("Too large resource version") => {
                Self { remedy: Remedy::Forget, message: None }
            }
            401 => told(Remedy::Renew, "check the token or certificate of the agent"),
            403 => told(Remedy::Resume, "give the agent's ServiceAccount the rights of deploy/"),
            _ => told(Remedy::Resume, "it is asked again"),
        }
    }
}

/// An error with its causes, each once: kube's errors repeat them.
pub fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_have_their_remedies() {
        let cases = [
            (410, "", true, Remedy::StartOver, false),
            (410, "", false, Remedy::StartOver, false),
            (422, "", true, Remedy::Page, false),
            (400, "", true, Remedy::Page, false),
            (422, "", false, Remedy::Resume, true),
            (401, "Unauthorized", false, Remedy::Renew, true),
            (403, "no", true, Remedy::Resume, true),
            (500, "no", false, Remedy::Resume, true),
            (504, "Too large resource version: 7, current: 3", true, Remedy::Forget, false),
            (504, "no", true, Remedy::Resume, true),
        ];
        for (code, message, streaming, remedy, told) in cases {
            let status = Status::failure(message, "").with_code(code);
            let trouble = Trouble::of_status(&status, streaming);
            assert_eq!((trouble.remedy, trouble.message.is_some()), (remedy, told), "{code}");
        }
    }
}
