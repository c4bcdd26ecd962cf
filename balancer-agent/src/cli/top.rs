//! `balancer-agent top`.

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use anstream::{AutoStream, ColorChoice};
use clap::builder::PossibleValuesParser;

use super::{
    exit::{Exit, Failure},
    inspect::Place,
    print,
    service::{self, Named, ServiceArg, Within},
};
use crate::{
    observe::Offline,
    settings::duration,
    top::{
        columns::SERVICES,
        gather::{Ask, Gather, Gathered},
        live,
        model::Model,
        order::Order,
        plain::{self, Form},
        port::PortKey,
        screen::Theme,
        state::{Level, State},
    },
    view::{ConnectionView, ServiceView, Wanted},
};

const EXAMPLES: &str = "\
Examples:
  balancer-agent top
  balancer-agent top shop/cart
  balancer-agent top --sort skew
  balancer-agent top --once
  balancer-agent top --once -o json | jq '.services[] | select(.skew > 2) | .service'
  balancer-agent top --interval 10s -o tsv >> top.tsv

On a terminal it is a screen, on which ? explains keys and columns. Elsewhere, and with --once or
-o, it is lines. Rates are those between two looks; bytes a second are looked at each 10 s, of 2,000
connections at most. The terminal is given back also where the process is killed; `reset` does so
where its guard is killed too.";

/// Show what happens now: connections, their rates, and whether Services are even
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    named: Named,

    #[command(flatten)]
    within: Within,

    /// Sort Service ports by this column: numbers from the largest
    #[arg(long, value_name = "COLUMN", ignore_case = true, default_value = "conns", value_parser = columns())]
    sort: String,

    /// Time between looks, from 1s to 1h
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = interval)]
    interval: Duration,

    /// Look twice, print what happened in between, and end
    #[arg(long)]
    once: bool,

    /// Form of lines; a table where there is no terminal
    #[arg(short, long, value_name = "FORM")]
    output: Option<Form>,

    #[command(flatten)]
    place: Place,
}

fn columns() -> PossibleValuesParser {
    let sortable = SERVICES.iter().filter(|column| column.key.is_some());
    PossibleValuesParser::new(sortable.map(|column| column.name.to_lowercase()))
}

fn interval(text: &str) -> Result<Duration, &'static str> {
    let range = Duration::from_secs(1)..=Duration::from_secs(3_600);
    duration::parse(text).filter(|time| range.contains(time)).ok_or("give a time from 1s to 1h")
}

/// Asks the agent, or reads its maps, for what is wanted alone.
struct Asked {
    place: Place,
    service: Option<ServiceArg>,
    namespace: Option<String>,
}

impl Ask for Asked {
    type Error = Failure;

    fn services(&self) -> Result<(Vec<ServiceView>, Option<String>), Failure> {
        let (mut found, away) = service::looked(&self.place, self.service.as_ref())?;
        found.retain(|service| self.namespace.as_ref().is_none_or(|n| *n == service.namespace));
        Ok((found, away))
    }

    fn connections(&self, wanted: &Wanted) -> Result<Vec<ConnectionView>, Failure> {
        let namespace = wanted.namespace.clone().or_else(|| self.namespace.clone());
        let wanted = Wanted { namespace, ..wanted.clone() };
        let (found, _) = self.place.look(&wanted, |maps: &Offline| maps.connections(&wanted))?;
        Ok(found)
    }
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let service = args.within.service(&args.named)?;
    let only = service.as_ref().map(|s| (s.namespace().to_owned(), s.name().to_owned()));
    let namespace = args.within.namespace().map(str::to_owned);
    let mut gather = Gather::new(Asked { place: args.place.clone(), service, namespace }, only);
    let order = Order::named(SERVICES, &args.sort).unwrap_or(Order::by(SERVICES, 0));
    // What can't be told at all is an error before a screen is there to hide it.
    let first = gather.next(None)?;
    let is_screen = io::stdout().is_terminal() && io::stdin().is_terminal() && !print::is_dumb();
    if args.once || args.output.is_some() || !is_screen {
        return lines(args, gather, first, order);
    }
    let state = State::new(order, root(&first, args.named.get().is_some()));
    let choice = AutoStream::choice(&io::stdout());
    let theme = Theme { is_coloured: choice != ColorChoice::Never };
    live::show(gather, first, state, args.interval, theme)?;
    Ok(Exit::Fine)
}

/// Where one Service is named that has one port, its backends.
fn root(first: &Gathered, is_named: bool) -> Level {
    match first.sample.services.as_slice() {
        [one] if is_named => Level::Backends(PortKey::new(&one.namespace, &one.name, &one.port)),
        _ => Level::Services,
    }
}

/// Prints lines until the reader has gone, or what happened between two looks.
fn lines(
    args: &Args,
    mut gather: Gather<Asked>,
    first: Gathered,
    order: Order,
) -> Result<Exit, Failure> {
    let form = args.output.unwrap_or(Form::Table);
    if let Some(away) = &first.away {
        print::note(away);
    }
    let mut model = Model::default();
    model.take(first.sample, first.look);
    let mut headers = true;
    while !print::wait(args.interval)? {
        let seen = gather.next(None)?;
        model.take(seen.sample, seen.look);
        let text = plain::text(form, model.view().clone(), order, headers, !args.once)?;
        if !print::piece(&text)? || args.once {
            break;
        }
        headers = false;
    }
    Ok(Exit::Fine)
}
