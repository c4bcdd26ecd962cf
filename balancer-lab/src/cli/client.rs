//! `balancer-lab client`

use std::{
    io::{self, BufRead, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use balancer_lab::http::{LoadOptions, Pools, Report, Until, load};
use clap::ValueEnum;
use hyper::Uri;

/// Send requests through pooled connections and count who answered, as JSON
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  balancer-lab client http://10.96.100.10/ --threads 5\n  \
                  balancer-lab client http://10.96.100.10/ --threads 20 --pools shared --seconds 2\n  \
                  balancer-lab client http://10.96.100.10/ --pools none --requests 100\n  \
                  balancer-lab client http://10.96.100.10/ --threads 5 --pools channel")]
pub(super) struct Arguments {
    /// What to request
    uri: Uri,
    /// Threads, each with one request in flight
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// How threads and connection pools go together
    #[arg(long, value_enum, default_value_t = PoolsArgument::PerThread)]
    pools: PoolsArgument,
    /// Requests of each thread
    #[arg(long, default_value_t = 100, conflicts_with = "seconds")]
    requests: u64,
    /// Send for this many seconds instead
    #[arg(long)]
    seconds: Option<f64>,
    /// Send until killed
    #[arg(long, conflicts_with_all = ["seconds", "requests"])]
    forever: bool,
    /// Milliseconds between an answer and the thread's next request
    #[arg(long, default_value_t = 0)]
    pace_ms: u64,
    /// Say "ready", start on a line of input, report, and keep the connections open until the input
    /// ends
    #[arg(long)]
    in_steps: bool,
    /// With --in-steps: send until a second line of input
    #[arg(long, requires = "in_steps", conflicts_with_all = ["forever", "seconds", "requests"])]
    until_told: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum PoolsArgument {
    /// Every thread has a pool of its own
    PerThread,
    /// All threads use one pool
    Shared,
    /// Every request opens a connection and closes it
    None,
    /// Every thread has a gRPC channel of its own, which is one connection
    Channel,
    /// Every thread has a pool of its own that speaks HTTP/2
    Http2,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let until = match arguments.seconds {
        Some(seconds) => Until::Elapsed(
            Duration::try_from_secs_f64(seconds).with_context(|| format!("--seconds {seconds}"))?,
        ),
        None if arguments.forever => Until::Forever,
        None if arguments.until_told => Until::Told,
        None => Until::Requests(arguments.requests),
    };
    let pools = match arguments.pools {
        PoolsArgument::PerThread => Pools::PerThread,
        PoolsArgument::Shared => Pools::Shared,
        PoolsArgument::None => Pools::None,
        PoolsArgument::Channel => Pools::Channel,
        PoolsArgument::Http2 => Pools::Http2,
    };
    let (uri, threads) = (arguments.uri.clone(), arguments.threads.max(1));
    let options =
        LoadOptions { uri, threads, pools, until, pace: Duration::from_millis(arguments.pace_ms) };
    let told = Arc::<AtomicBool>::default();
    if arguments.in_steps {
        let go = || {
            say("ready")?;
            io::stdin().lock().read_line(&mut String::new())?;
            if arguments.until_told {
                let told = Arc::clone(&told);
                thread::spawn(move || {
                    // Without whoever would tell, there is nothing to go on for either.
                    let _ = io::stdin().lock().read_line(&mut String::new());
                    told.store(true, Ordering::Relaxed);
                });
            }
            Ok(())
        };
        let hold = |report| {
            print(&report)
                .and_then(|()| io::copy(&mut io::stdin().lock(), &mut io::sink()).map(drop))
        };
        load(&options, &told, go, hold)?;
    } else {
        load(&options, &told, || Ok(()), |report| print(&report))?;
    }
    Ok(())
}

fn print(report: &Report) -> io::Result<()> {
    say(&serde_json::to_string(report)?)
}

fn say(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}
