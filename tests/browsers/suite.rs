//! Cases, the columns in which they run, and the table of how it went.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::browser::{Browser, Kind};
use crate::page::Page;
use crate::{Failure, Result};

/// No case takes longer, on a machine that is busy too.
const CASE_MAX: Duration = Duration::from_secs(150);

/// Way in which a browser finds the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Offer and answer are carried from one to the other.
    Signalled,
    /// The page makes the answer itself, from a ticket.
    Direct,
}

/// Environment of a case: a browser, a way, and the resources for it.
#[derive(Clone)]
pub struct Setting {
    pub browser: Arc<Browser>,
    /// The browser of the other kind.
    pub other: Arc<Browser>,
    pub way: Way,
    /// The address of the page.
    pub url: String,
}

impl Setting {
    pub fn kind(&self) -> Kind {
        self.browser.kind
    }

    /// The same with a browser of its own, that has these settings: see [`Browser::launch`].
    pub async fn launch(&self, settings: &[&str]) -> Result<Self> {
        let browser = Browser::launch(self.kind(), settings).await?;
        Ok(Self { browser: Arc::new(browser), ..self.clone() })
    }

    /// A new tab.
    pub async fn page(&self) -> Result<Page> {
        self.browser.open(&self.url).await
    }
}

pub type Run = fn(Setting) -> Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// A behaviour, and the ways in which it can be looked at.
pub struct Case {
    pub name: &'static str,
    pub ways: &'static [Way],
    pub run: Run,
    /// The only browser that has the feature.
    pub only: Option<Kind>,
    /// It waits more than it works: runs beside the others of this kind, in all columns at once.
    pub is_idle: bool,
    /// Nothing of ours takes part, so it says how browsers behave and not how we do. Runs only if the command line
    /// names it.
    pub is_survey: bool,
}

impl Case {
    pub fn only(mut self, kind: Kind) -> Self {
        self.only = Some(kind);
        self
    }

    pub fn survey(mut self) -> Self {
        self.is_survey = true;
        self
    }

    pub fn idle(mut self) -> Self {
        self.is_idle = true;
        self
    }
}

pub const BOTH: &[Way] = &[Way::Signalled, Way::Direct];
pub const SIGNALLED: &[Way] = &[Way::Signalled];
pub const DIRECT: &[Way] = &[Way::Direct];

/// `case!("a sentence", BOTH, function)`
macro_rules! case {
    ($name:expr, $ways:expr, $run:expr) => {
        $crate::suite::Case {
            name: $name,
            ways: $ways,
            run: |setting| Box::pin($run(setting)),
            only: None,
            is_idle: false,
            is_survey: false,
        }
    };
}
pub(crate) use case;

enum Outcome {
    Passed(Duration),
    Failed(Failure),
    /// The case has no meaning in this column.
    Elsewhere,
}

/// Runs the cases, one at a time but for those that are idle, which come last, all at once: a browser needs the machine
/// for itself. Returns whether all passed.
pub async fn run(cases: &[Case], columns: &[Setting]) -> bool {
    let mut rows: Vec<Vec<Outcome>> = Vec::new();
    for case in cases {
        let mut row = Vec::new();
        for setting in columns.iter().filter(|_| !case.is_idle) {
            row.push(run_one(case, setting).await);
        }
        rows.push(row);
    }
    let idle = cases.iter().zip(&mut rows).filter(|(case, _)| case.is_idle);
    join_all(idle.map(|(case, row)| async {
        *row = join_all(columns.iter().map(|setting| run_one(case, setting))).await;
    }))
    .await;
    let table: Vec<_> = cases.iter().map(|case| case.name).zip(rows).collect();
    print(&table, columns);
    table.iter().all(|(_, row)| row.iter().all(|outcome| !matches!(outcome, Outcome::Failed(_))))
}

async fn run_one(case: &Case, setting: &Setting) -> Outcome {
    if !case.ways.contains(&setting.way) || case.only.is_some_and(|kind| kind != setting.kind()) {
        return Outcome::Elsewhere;
    }
    let began = Instant::now();
    println!("{} · {:?} {:?}", case.name, setting.kind(), setting.way);
    // A task of its own: a panic in the task fails the case, not the suite.
    let mut task = tokio::spawn((case.run)(setting.clone()));
    let result = match tokio::time::timeout(CASE_MAX, &mut task).await {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => Err(error.into()),
        Err(_) => {
            task.abort();
            Err(format!("not done within {CASE_MAX:?}").into())
        }
    };
    match result {
        Ok(()) => Outcome::Passed(began.elapsed()),
        Err(error) => {
            println!("    FAILED: {error}");
            Outcome::Failed(error)
        }
    }
}

fn print(table: &[(&str, Vec<Outcome>)], columns: &[Setting]) {
    let width = table.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    let cells = |cells: Vec<String>| cells.iter().map(|cell| format!("  {cell:<10}")).collect::<String>();
    println!("\n{:width$}{}", "", cells(columns.iter().map(|setting| format!("{:?}", setting.kind())).collect()));
    println!("{:width$}{}", "", cells(columns.iter().map(|setting| format!("{:?}", setting.way)).collect()));
    for (name, row) in table {
        println!("{name:width$}{}", cells(row.iter().map(ToString::to_string).collect()));
    }
    let count = |is_it: fn(&Outcome) -> bool| table.iter().flat_map(|(_, row)| row).filter(|o| is_it(o)).count();
    println!(
        "\n{} passed, {} failed (·: not a question there)",
        count(|outcome| matches!(outcome, Outcome::Passed(_))),
        count(|outcome| matches!(outcome, Outcome::Failed(_))),
    );
    for (index, setting) in columns.iter().enumerate() {
        let mut failures = table.iter().filter_map(|(name, row)| match &row[index] {
            Outcome::Failed(error) => Some((name, error)),
            _ => None,
        });
        let mut has_failed = false;
        for (name, error) in &mut failures {
            has_failed = true;
            println!("FAILED: {name} · {:?} {:?}\n    {error}", setting.kind(), setting.way);
        }
        if has_failed {
            println!("the last that {:?} has to say:\n{}", setting.kind(), setting.browser.complaints());
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed(time) => write!(f, "ok {:.1} s", time.as_secs_f64()),
            Self::Failed(_) => write!(f, "FAILED"),
            Self::Elsewhere => write!(f, "·"),
        }
    }
}
