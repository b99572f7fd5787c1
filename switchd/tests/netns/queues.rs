//! Queues of ports: classes of a queueing discipline of the kernel, which `tc` configures and counts.

use crate::connections::add_rules;
use crate::fixture::Network;
use anyhow::{Context, ensure};
use lab::harness::{Test, Unsupported};
use lab::{FrameSocket, eventually, experimental_frame};
use std::process::Command;
use std::time::Duration;

pub(crate) const TESTS: &[Test] = &[("queues::rules_choose_the_class", rules_choose_the_class)];

/// Frames of each queue.
const FRAMES: u64 = 300;
/// The last byte of the sender's address tells the queue that the rules choose.
const MAC: [u8; 5] = [2, 0, 0, 0, 9];
/// The classes that the queues without number, 0, 1 and 2 are.
const CLASSES: [&str; 4] = ["1:f", "1:1", "1:2", "1:3"];

/// Runs `tc` with these arguments, in the namespace of the switch.
fn tc(arguments: &str) -> anyhow::Result<String> {
    let run = Command::new("tc").args(arguments.split(' ')).output();
    let Ok(output) = run else {
        return Err(Unsupported::lacking("program tc (iproute2)"));
    };
    let message = String::from_utf8_lossy(&output.stderr);
    if message.contains("qdisc kind is unknown") {
        return Err(Unsupported::lacking("queueing discipline htb"));
    }
    ensure!(output.status.success(), "tc {arguments}: {message}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The number of packets that each of [`CLASSES`] has sent.
fn counts() -> anyhow::Result<[u64; 4]> {
    let shown = tc("-s class show dev veth2")?;
    let count = |class: &str| {
        let of_class =
            shown.split("class htb ").find(|text| text.starts_with(&format!("{class} ")));
        let words = of_class?.split("Sent ").nth(1)?.split(' ');
        words.skip(2).step_by(2).next()?.parse().ok()
    };
    let counts = CLASSES.map(count);
    let counts: Option<Vec<u64>> = counts.into_iter().collect();
    counts.and_then(|counts| counts.try_into().ok()).with_context(|| shown.clone())
}

fn rules_choose_the_class() -> anyhow::Result<()> {
    let network = Network::pair()?;
    tc("qdisc replace dev veth2 root handle 1: htb default f")?;
    for class in CLASSES {
        tc(&format!("class add dev veth2 parent 1: classid {class} htb rate 1gbit"))?;
    }
    let rules = [
        "dl_src=02:00:00:00:09:00,actions=output:2",
        "dl_src=02:00:00:00:09:01,actions=set_queue:0,output:2",
        "dl_src=02:00:00:00:09:02,actions=enqueue:2:1",
        // What was chosen holds in the next pass, and in buckets and other tables.
        "dl_src=02:00:00:00:09:03,actions=set_queue:2,resubmit(,1)",
        "table=1,actions=clone(set_queue:1),output:2",
    ];
    add_rules(&network, &rules.map(str::to_owned))?;
    // Frames of all queues in turn, with a number each.
    let frames: Vec<Vec<u8>> = (0..FRAMES)
        .flat_map(|number| (0..4).map(move |queue| (number, queue)))
        .map(|(number, queue)| {
            let [a, b, c, d, e] = MAC;
            let source = [a, b, c, d, e, queue];
            experimental_frame(network.b().mac(), source, &number.to_be_bytes())
        })
        .collect();
    let mut receiver = network.b().run(|| FrameSocket::open(network.b().interface()))??;
    // The switch learns of the discipline by a notification.
    let sender = network.a().run(|| FrameSocket::open_to_send(network.a().interface()))??;
    let before = counts()?;
    eventually("frames pass the discipline", || {
        sender.send(&frames[0]).is_ok_and(|sent| sent) && counts().unwrap_or_default() != before
    })?;
    while receiver.receive(Duration::from_millis(50))?.is_some() {}
    let before = counts()?;
    let mut last = [const { None }; 4];
    for part in frames.chunks(40) {
        let mut rest = part;
        while !rest.is_empty() {
            rest = &rest[sender.send_all(rest)?..];
        }
        for _ in part {
            let frame = receiver.receive(Duration::from_secs(10))?.context("a frame is missing")?;
            let (queue, number) = (usize::from(frame[11]), frame[14..22].to_vec());
            ensure!(last[queue].as_ref() < Some(&number), "queue {queue}: out of order");
            last[queue] = Some(number);
        }
    }
    let sent: Vec<u64> = counts()?.iter().zip(before).map(|(now, then)| now - then).collect();
    ensure!(sent == [FRAMES; 4], "{sent:?} frames in the classes");
    Ok(())
}
