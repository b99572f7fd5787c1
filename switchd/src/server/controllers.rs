//! Controllers of bridges, what bridges do without them, and the files for TLS.

use super::bridges::refuse;
use crate::desired::{AllowedVersions, Bridge, Controller, FailMode, SslFiles};
use crate::openflow::check_ssl_files;
use crate::switch::{OnBridge, Switch};
use control::record::SslRecord;
use control::{Changed, Reason, Refusal, Reply};
use std::path::PathBuf;

/// What is wanted of a bridge. A bridge that was just removed has default settings.
pub(super) fn wanted(switch: &OnBridge<'_>) -> Bridge {
    let name = switch.name();
    switch.desired().bridge(&name).cloned().unwrap_or_else(|_| Bridge::new(&*name))
}

/// Gives a bridge these controllers instead of those that it has.
pub(super) fn set(switch: &OnBridge<'_>, controllers: &[String]) -> Result<Reply, Box<Refusal>> {
    let parsed = controllers.iter().map(|text| text.parse::<Controller>());
    let parsed = parsed.collect::<Result<_, _>>().map_err(wrong_text)?;
    switch.set_controllers(&switch.name(), parsed).map_err(|error| refuse(switch, &error))?;
    Ok(Reply::Done)
}

/// The controllers of a bridge.
pub(super) fn list(switch: &OnBridge<'_>) -> Reply {
    Reply::Controllers(switch.controllers(&switch.name()))
}

/// Sets what a bridge does without a controller; `None` is the default.
pub(super) fn set_fail_mode(
    switch: &OnBridge<'_>,
    mode: Option<&str>,
) -> Result<Reply, Box<Refusal>> {
    let mode = mode.map(str::parse::<FailMode>).transpose().map_err(wrong_text)?;
    let changed = switch.change_bridge(&switch.name(), |bridge| bridge.fail_mode = mode);
    changed.map_err(|error| refuse(switch, &error))?;
    Ok(Reply::Done)
}

/// Sets which versions of OpenFlow a bridge speaks.
pub(super) fn set_protocols(
    switch: &OnBridge<'_>,
    versions: &[String],
) -> Result<Reply, Box<Refusal>> {
    let versions = AllowedVersions::of_names(versions).map_err(wrong_text)?;
    let changed = switch.change_bridge(&switch.name(), |bridge| bridge.protocols = versions);
    changed.map_err(|error| refuse(switch, &error))?;
    Ok(Reply::Done)
}

/// Sets the files for TLS; `None` is no TLS. A note says at once why the files cannot be used; it is no error,
/// because they may come later.
pub(super) fn set_ssl(switch: &Switch, files: Option<&SslRecord>) -> Result<Reply, Box<Refusal>> {
    let files = files.map(|files| {
        let SslRecord { private_key, certificate, ca_cert } = files.clone();
        SslFiles::new(private_key.into(), certificate.into(), ca_cert.into())
    });
    let files = files.transpose().map_err(wrong_text)?;
    switch.set_ssl(files.clone()).map_err(|error| refuse(switch, &error))?;
    let notes = files.and_then(|files| check_ssl_files(&files).err()).into_iter();
    Ok(Reply::Changed(Changed { count: 1, notes: notes.map(|why| why.to_string()).collect() }))
}

/// The files for TLS.
pub(super) fn ssl(switch: &Switch) -> Reply {
    let text = |path: PathBuf| path.display().to_string();
    Reply::Ssl(switch.desired().ssl.map(|files| SslRecord {
        private_key: text(files.private_key),
        certificate: text(files.certificate),
        ca_cert: text(files.ca_cert),
    }))
}

fn wrong_text(message: String) -> Box<Refusal> {
    Box::new(Refusal::new(Reason::Text, message))
}
