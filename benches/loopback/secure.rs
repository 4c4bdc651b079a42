//! Cost of encryption: in a whole transfer, and by itself.

use std::time::Duration;

use crate::scenario::{Flow, Result};
use crate::{BULK, dtls};

/// Limit on the cost of the secure path, as a multiple of the separate costs of the plain path and DTLS.
const RATIO_MAX: f64 = 1.5;

/// Batches of records: about a second.
const BATCHES: usize = 8_000;

/// Processor seconds for a GiB.
#[derive(Clone, Copy)]
struct Costs {
    plain: f64,
    dtls: f64,
    secure: f64,
}

impl Costs {
    fn ratio(self) -> f64 {
        self.secure / (self.plain + self.dtls)
    }
}

/// All three in turns, and the round in the middle.
pub(crate) fn compare(rounds: usize, time: Duration) -> Result<()> {
    let mut costs = Vec::new();
    for _ in 0..rounds {
        costs.push(Costs {
            plain: transfer(false, time)?,
            dtls: dtls::seconds_a_gib(BATCHES)?,
            secure: transfer(true, time)?,
        });
    }
    costs.sort_by(|a, b| a.ratio().total_cmp(&b.ratio()));
    let Some(&middle) = costs.get(costs.len() / 2) else { return Ok(()) };
    let Costs { plain, dtls, secure } = middle;
    println!(
        "CPU-s a GiB: plain {plain:.2}, DTLS alone {dtls:.2}, secure {secure:.2}: {:.2} times what they cost apart",
        middle.ratio()
    );
    if let (Some(least), Some(most)) = (costs.first(), costs.last()) {
        println!("{:.2} to {:.2} over {} rounds", least.ratio(), most.ratio(), costs.len());
    }
    if middle.ratio() > RATIO_MAX {
        return Err(format!("the secure path costs more than {RATIO_MAX} times what its parts cost").into());
    }
    Ok(())
}

/// One transfer alone, with a runtime of its own: nothing of the one before is left running.
fn transfer(is_secure: bool, time: Duration) -> Result<f64> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        let flow = if is_secure { Flow::start_secure(BULK).await? } else { Flow::start(1, BULK).await? };
        flow.measure(time / 4).await?;
        flow.measure(time).await
    })?;
    Ok(outcome.cpu_seconds_a_gib())
}
