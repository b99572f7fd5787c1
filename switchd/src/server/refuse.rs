//! Errors of the libraries, as refusals: with their place in the text and OpenFlow's name for them.

use crate::bridge::events::SubscribeError;
use control::{OpenFlowError, Reason, Refusal, TextPlace};
use flow::text::TextError;
use flowtable::policy::FlowModError;

/// The place of a line in the text of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    /// What the client calls the text.
    pub(super) file: Option<&'a str>,
    /// The number of the line in the text, counted from 1.
    pub(super) number: usize,
    /// The line, without its comment.
    pub(super) text: &'a str,
}

impl Line<'_> {
    fn place(&self, span: std::ops::Range<usize>) -> TextPlace {
        TextPlace {
            file: self.file.map(str::to_owned),
            line: self.number,
            text: self.text.to_owned(),
            span,
        }
    }
}

/// The text of a request, or the refusal of bytes that are no text, with the number of their line.
pub(super) fn utf8(text: &[u8]) -> Result<&str, Box<Refusal>> {
    std::str::from_utf8(text).map_err(|error| {
        let line = 1 + text[..error.valid_up_to()].iter().filter(|&&b| b == b'\n').count();
        Box::new(Refusal::new(Reason::Text, format!("line {line} is not UTF-8 text")))
    })
}

/// The refusal of a text that cannot be read, with the piece that is wrong.
pub(super) fn text(error: &TextError, line: Line<'_>) -> Box<Refusal> {
    Box::new(Refusal::of_text(error, line.file, line.number, line.text))
}

/// The refusal of a request that came while another program took over.
pub(super) fn handed_over() -> Box<Refusal> {
    let message = "the switch was restarted before it could do this, and nothing has changed";
    Box::new(Refusal::new(Reason::Switch, message).with_hint("try again"))
}

/// The refusal of a change that the tables do not take, with OpenFlow's name for the reason.
pub(super) fn flow_mod(error: &FlowModError, line: Line<'_>) -> Box<Refusal> {
    let refusal = Refusal::new(Reason::Switch, error.to_string())
        .with_place(line.place(0..0))
        .with_openflow(openflow(error));
    Box::new(refusal)
}

/// The refusal of a request that names a port which the bridge does not have.
pub(super) fn no_port(port: &str) -> Box<Refusal> {
    let refusal = Refusal::new(Reason::NotFound, format!("there is no port \"{port}\""));
    Box::new(refusal.with_hint("ofctl show lists the ports"))
}

/// The refusal of a client that wants to watch and cannot.
pub(super) fn subscription(error: &SubscribeError) -> Box<Refusal> {
    let reason = match error {
        SubscribeError::TooMany => Reason::Limit,
        SubscribeError::Os(_) => Reason::System,
    };
    Box::new(Refusal::new(reason, error.to_string()))
}

/// More text than all sessions together may hold.
pub(super) fn too_much_text() -> Box<Refusal> {
    let limit = super::text_budget::MAX_TEXT >> 20;
    let message = format!("the control sessions together hold more than {limit} MiB of text");
    Box::new(Refusal::new(Reason::Limit, message).with_hint("send the rules in several requests"))
}

/// OpenFlow's name for the reason, and its numbers in OpenFlow 1.3.
fn openflow(error: &FlowModError) -> OpenFlowError {
    let code = crate::openflow::error_code(error);
    let (r#type, code_number) = code.standard().unwrap_or_default();
    OpenFlowError { name: code.name().to_owned(), r#type, code: code_number }
}
