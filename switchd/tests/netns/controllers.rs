//! A confined switch reaches its controller by name, and reads the files for TLS.

use crate::fixture::{Cable, Network};
use anyhow::{Context, ensure};
use lab::Netlink;
use lab::harness::Test;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

pub(crate) const TESTS: &[Test] = &[
    ("controllers::a_confined_switch_looks_up_the_name_of_its_controller", name),
    ("controllers::a_confined_switch_reads_the_files_for_tls", tls_files),
];

/// A place for the switch to connect to, in a namespace whose loopback device is up.
fn listen() -> anyhow::Result<(TcpListener, u16)> {
    let mut netlink = Netlink::open()?;
    let lo = netlink.link("lo")?.index;
    netlink.set_up(lo, true)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    Ok((listener, port))
}

/// The switch's connection, and its first six bytes.
fn first_bytes(listener: &TcpListener, network: &Network) -> anyhow::Result<(TcpStream, [u8; 6])> {
    let (mut stream, _) = listener.accept()?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut first = [0; 6];
    stream.read_exact(&mut first).with_context(|| network.daemon.log())?;
    Ok((stream, first))
}

fn name() -> anyhow::Result<()> {
    let (listener, port) = listen()?;
    let target = format!("tcp:localhost:{port},max_backoff=1000");
    let network = Network::with(&[Cable::Veth], None, &["--controller", &target])?;
    let (mut stream, hello) = first_bytes(&listener, &network)?;
    ensure!(hello[1] == 0, "{hello:?} is no HELLO");
    // HELLO of OpenFlow 1.3 and a request for the features, whose reply shows that the connection is open.
    stream.write_all(&[4, 0, 0, 8, 0, 0, 0, 1, 4, 5, 0, 8, 0, 0, 0, 2])?;
    let mut rest = [0; 10 + 8];
    stream.read_exact(&mut rest).with_context(|| network.daemon.log())?;
    ensure!(rest[10..12] == [4, 6], "{rest:?} is no reply with features");
    Ok(())
}

fn tls_files() -> anyhow::Result<()> {
    let (listener, port) = listen()?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls");
    let files = ["switch.key", "switch.pem", "ca.pem"].map(|name| folder.join(name));
    let [key, certificate, ca] = files.each_ref().map(|file| file.to_str().unwrap_or_default());
    let target = format!("ssl:127.0.0.1:{port},max_backoff=1000");
    let arguments = ["--private-key", key, "--certificate", certificate, "--ca-cert", ca];
    let arguments = [&arguments[..], &["--controller", &target]].concat();
    let network = Network::with(&[Cable::Veth], None, &arguments)?;
    let (_stream, record) = first_bytes(&listener, &network)?;
    // A record of type handshake that begins with a ClientHello.
    ensure!(record[0] == 22 && record[5] == 1, "{record:?}: {}", network.daemon.log());
    Ok(())
}
