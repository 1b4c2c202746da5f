//! The real converter, swapped while it converts: what runs finishes on the old revision, what comes
//! after is converted by the new one.

use std::time::Duration;

use crate::harness::{Operator, Swap, eventually};
use crate::media::{App, User, long, manifest};

/// Minutes of sound: a conversion that runs for a while on two busy cores.
const SECONDS: u32 = 240;

async fn progress(user: &User, id: &str) -> f64 {
    user.job(id).await["progress"].as_f64().unwrap_or_default()
}

/// Bits per second of an MP3 of so many seconds.
fn bitrate(mp3: &[u8], seconds: f64) -> f64 {
    mp3.len() as f64 * 8.0 / seconds
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversion_finishes_on_its_revision_while_new_uploads_convert_on_the_next() {
    let host = App::own(&manifest(|_| {})).await;
    let operator = Operator::of(&host);
    let user = User::new(&host).await;
    let bytes = long(SECONDS);
    let old = user.upload("long.flac", &bytes).await;
    eventually("it converts", Duration::from_secs(90), async || {
        (progress(&user, &old).await > 0.0).then_some(())
    })
    .await;
    let swap = Swap::new().config("MP3_QUALITY", "64k");
    operator.swapped("converter", swap).await;
    let living = operator.living("converter").await;
    assert_eq!(living.len(), 2, "the old one still converts: {living:?}");
    assert_eq!(living[1]["deliveries"], 1);

    let clip = crate::media::source();
    let (job, mp3) = user.convert("clip.mp4", &clip).await;
    let seconds = job["duration_seconds"].as_f64().unwrap();
    let rate = bitrate(&mp3, seconds);
    assert!(rate < 100_000.0, "{rate} bit/s: not by the new revision");
    let running = user.job(&old).await;
    assert_eq!(
        running["state"], "converting",
        "all that took less: {running}"
    );

    let job = user.settled(&old).await;
    assert_eq!(job["state"], "done", "{job}");
    let mp3 = user.download(&old).await;
    let rate = bitrate(&mp3, f64::from(SECONDS));
    assert!(rate > 150_000.0, "{rate} bit/s: not by the old revision");
    let seconds = job["duration_seconds"].as_f64().unwrap();
    assert!((seconds - f64::from(SECONDS)).abs() < 0.1, "{job}");
    operator.alone("converter").await;
    let metrics = host.metrics().await;
    let labels = [("subject", "media.uploaded")];
    assert_eq!(metrics.sum("wharf_deliveries_total", &labels), 2.0);
    assert_eq!(metrics.sum("wharf_retries_total", &[]), 0.0);
}
