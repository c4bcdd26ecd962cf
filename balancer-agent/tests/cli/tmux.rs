//! A real terminal: tmux, with a server of its own.

use std::{
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// How long something may take to be seen.
const PATIENCE: Duration = Duration::from_secs(30);

/// One terminal in which a command runs. Its server ends when it is dropped.
pub struct Terminal {
    folder: TempDir,
}

impl Terminal {
    /// Runs a line of a shell in a terminal of this size, which stays when the line has ended. None where
    /// tmux is not installed.
    pub fn start(columns: u16, rows: u16, line: &str) -> Option<Self> {
        Command::new("tmux").arg("-V").output().ok()?;
        let folder = tempfile::tempdir().expect("a folder");
        let terminal = Self { folder };
        let size = [columns.to_string(), rows.to_string()];
        let options = ["set", "-g", "status", "off", ";", "set", "-g", "remain-on-exit", "on", ";"];
        let new = ["new-session", "-d", "-x", &size[0], "-y", &size[1], "sh", "-c", line];
        let output = terminal.run(&[&options[..], &new].concat());
        assert!(output.status.success(), "{output:?}");
        Some(terminal)
    }

    fn run(&self, args: &[&str]) -> Output {
        let socket = self.folder.path().join("tmux");
        let mut command = Command::new("tmux");
        command.arg("-S").arg(socket).args(["-f", "/dev/null"]).args(args);
        command.env_remove("TMUX").env("LC_ALL", "C.UTF-8").env("TERM", "xterm-256color");
        command.output().expect("tmux")
    }

    fn said(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Types keys, as tmux names them.
    pub fn type_keys(&self, keys: &[&str]) {
        self.said(&[&["send-keys"], keys].concat());
    }

    /// Gives it another size.
    pub fn resize(&self, columns: u16, rows: u16) {
        let size = [columns.to_string(), rows.to_string()];
        self.said(&["resize-window", "-x", &size[0], "-y", &size[1]]);
    }

    /// What is on the screen, without blanks at the ends of lines.
    pub fn screen(&self) -> String {
        let shown = self.said(&["capture-pane", "-p"]);
        let lines: Vec<_> = shown.trim_end().lines().map(str::trim_end).collect();
        lines.join("\n") + "\n"
    }

    /// The same with what colours it.
    pub fn coloured(&self) -> String {
        self.said(&["capture-pane", "-p", "-e"])
    }

    /// A variable of tmux's, such as `alternate_on`.
    pub fn variable(&self, name: &str) -> String {
        self.said(&["display", "-p", &format!("#{{{name}}}")]).trim().to_owned()
    }

    /// The mode of the terminal, as stty writes it.
    pub fn mode(&self) -> String {
        let device = self.variable("pane_tty");
        let output = Command::new("stty").args(["-F", &device, "-g"]).output().expect("stty");
        String::from_utf8(output.stdout).expect("text")
    }

    /// Waits until the screen is as wanted, and returns it.
    #[track_caller]
    pub fn until(&self, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let screen = self.screen();
            if wanted(&screen) {
                return screen;
            }
            assert!(Instant::now() < deadline, "not seen within {PATIENCE:?}:\n{screen}");
            // A terminal tells nobody that it was drawn on.
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the screen shows a text.
    #[track_caller]
    pub fn shows(&self, text: &str) -> String {
        self.until(|screen| screen.contains(text))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.run(&["kill-server"]);
    }
}
