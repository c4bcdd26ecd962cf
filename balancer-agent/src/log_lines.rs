//! The last lines that the agent has logged, for whoever reports a fault.

use std::{
    collections::VecDeque,
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use tracing_subscriber::fmt::MakeWriter;

/// Lines that are kept.
const LINES: usize = 1_000;
/// Bytes of them at most.
const BYTES: usize = 256 << 10;

/// Keeps what is written to it, whole lines, the last of them. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct LogLines(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<String>,
    bytes: usize,
}

impl LogLines {
    /// The lines, the oldest first.
    pub fn list(&self) -> Vec<String> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.lines.iter().cloned().collect()
    }

    fn keep(&self, text: &str) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Longer ones than all that is kept are of no use to anybody.
        for line in text.lines().filter(|line| line.len() <= BYTES) {
            kept.bytes += line.len();
            kept.lines.push_back(line.to_owned());
        }
        while kept.lines.len() > LINES || kept.bytes > BYTES {
            let Some(line) = kept.lines.pop_front() else { break };
            kept.bytes -= line.len();
        }
    }
}

/// One event of the log is one write.
impl Write for LogLines {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.keep(&anstream::adapter::strip_str(&String::from_utf8_lossy(text)).to_string());
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogLines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_without_colours() {
        let lines = LogLines::default();
        let mut writer = lines.make_writer();
        for number in 0..LINES + 3 {
            let line = format!("\u{1b}[32mline\u{1b}[0m {number}\n");
            writer.write_all(line.as_bytes()).expect("kept");
        }
        let kept = lines.list();
        assert_eq!(kept.len(), LINES);
        assert_eq!(kept.first().map(String::as_str), Some("line 3"));
    }

    #[test]
    fn long_lines_push_others_out() {
        let lines = LogLines::default();
        let mut writer = lines.make_writer();
        for letter in ["a", "b", "c"] {
            writer.write_all(letter.repeat(BYTES / 2).as_bytes()).expect("kept");
        }
        writer.write_all("d".repeat(BYTES + 1).as_bytes()).expect("kept");
        let first: Vec<_> = lines.list().iter().map(|line| line[..1].to_owned()).collect();
        assert_eq!(first, ["b", "c"]);
    }
}
