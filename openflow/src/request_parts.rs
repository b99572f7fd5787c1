//! The parts of multipart requests, which are collected until a request is whole (OpenFlow 1.3.5 §7.3.5).
//!
//! The parts of a request have the same transaction id and the same type. All but the last one have
//! the flag that says that another part follows, which requests have from OpenFlow 1.3 on. Parts
//! without a body are allowed everywhere.

use crate::error::ErrorCode;
use crate::kind::MessageKind;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long the next part of a request may take, as in Open vSwitch.
const PATIENCE: Duration = Duration::from_secs(1);
/// How many bytes a request has at most, as in Open vSwitch.
const MAX_SIZE: usize = 4 << 20;
/// How many bytes all requests have at most that are not whole.
const MAX_TOTAL: usize = 4 * MAX_SIZE;
/// How many requests may be incomplete at the same time.
const MAX_REQUESTS: usize = 64;

/// A request of which parts are missing.
#[derive(Debug)]
struct Incomplete {
    /// The name of its type.
    name: &'static str,
    /// The parts that have a body.
    parts: Vec<Vec<u8>>,
    /// The latest part, which an error about the request repeats.
    latest: Vec<u8>,
    /// The bytes of all parts, those without a body among them.
    size: usize,
    /// When the next part has to be there.
    until: Instant,
}

/// The requests of a connection of which parts are missing, by their transaction ids.
#[derive(Debug, Default)]
pub(crate) struct RequestParts {
    requests: HashMap<u32, Incomplete>,
}

impl RequestParts {
    /// Takes a multipart request. Returns its parts, in their order and at least one, if
    /// the request is whole now.
    ///
    /// # Errors
    /// The error that the sender should get. The parts that came before are forgotten.
    pub(crate) fn take(
        &mut self,
        xid: u32,
        kind: &MessageKind,
        has_more: bool,
        part: Vec<u8>,
        now: Instant,
    ) -> Result<Option<Vec<Vec<u8>>>, ErrorCode> {
        let has_body = !kind.lacks_body(part.len());
        if has_body && !kind.fits(part.len()) {
            return Err(ErrorCode::BadLength);
        }
        let before = self.requests.remove(&xid);
        if before.as_ref().is_some_and(|request| request.name != kind.name) {
            return Err(ErrorCode::BadStat);
        }
        let (mut parts, size) =
            before.map_or((Vec::new(), 0), |request| (request.parts, request.size));
        let size = size + part.len();
        let total: usize = self.requests.values().map(|request| request.size).sum();
        if size > MAX_SIZE || total + size > MAX_TOTAL || self.requests.len() >= MAX_REQUESTS {
            return Err(ErrorCode::MultipartOverflow);
        }
        if !has_more {
            if has_body || parts.is_empty() {
                parts.push(part);
            }
            let has_any_body = parts.iter().any(|part| !kind.lacks_body(part.len()));
            let is_complete = has_any_body || !kind.needs_body();
            return if is_complete { Ok(Some(parts)) } else { Err(ErrorCode::BadLength) };
        }
        let latest = part.clone();
        if has_body {
            parts.push(part);
        }
        let until = now + PATIENCE;
        self.requests.insert(xid, Incomplete { name: kind.name, parts, latest, size, until });
        Ok(None)
    }

    /// When the next part of a request will be too late; `None` if no part is missing.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.requests.values().map(|request| request.until).min()
    }

    /// Forgets the requests whose next part is too late. Returns the latest part of each.
    pub(crate) fn take_late(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let late = self.requests.extract_if(|_, request| now >= request.until);
        late.map(|(_, request)| request.latest).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request for table features (type 12) of OpenFlow 1.3.
    fn features(body: usize, xid: u32) -> Vec<u8> {
        let mut bytes = vec![4, 18, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0, 0, 0, 0, 0];
        bytes[4..8].copy_from_slice(&xid.to_be_bytes());
        bytes.resize(16 + body, 0);
        let len = bytes.len() as u16;
        bytes[2..4].copy_from_slice(&len.to_be_bytes());
        bytes
    }

    /// As [`features`], of ports' counters (type 4), whose body has 8 bytes.
    fn ports(body: usize, xid: u32) -> Vec<u8> {
        let mut bytes = features(body, xid);
        bytes[9] = 4;
        bytes
    }

    fn take(
        parts: &mut RequestParts,
        part: &[u8],
        has_more: bool,
        now: Instant,
    ) -> Result<Option<usize>, ErrorCode> {
        let kind = MessageKind::of(part).unwrap();
        let xid = u32::from_be_bytes(part[4..8].try_into().unwrap());
        let taken = parts.take(xid, &kind, has_more, part.to_vec(), now)?;
        Ok(taken.map(|parts| parts.len()))
    }

    #[test]
    fn a_request_is_whole_with_its_last_part() {
        let (mut parts, now) = (RequestParts::default(), Instant::now());
        assert_eq!(take(&mut parts, &features(64, 1), true, now), Ok(None));
        assert_eq!(take(&mut parts, &features(64, 2), false, now), Ok(Some(1)), "another request");
        assert_eq!(take(&mut parts, &features(0, 1), true, now), Ok(None));
        assert_eq!(take(&mut parts, &features(64, 1), true, now), Ok(None));
        assert_eq!(take(&mut parts, &features(0, 1), false, now), Ok(Some(2)));
        assert_eq!(parts.deadline(), None);
    }

    #[test]
    fn a_body_may_stand_in_any_part_but_has_to_be_there() {
        let (mut parts, now) = (RequestParts::default(), Instant::now());
        assert_eq!(take(&mut parts, &ports(0, 1), true, now), Ok(None));
        assert_eq!(take(&mut parts, &ports(8, 1), true, now), Ok(None));
        assert_eq!(take(&mut parts, &ports(0, 1), false, now), Ok(Some(1)));
        assert_eq!(take(&mut parts, &ports(0, 2), true, now), Ok(None));
        assert_eq!(take(&mut parts, &ports(0, 2), false, now), Err(ErrorCode::BadLength));
        assert_eq!(take(&mut parts, &ports(7, 3), false, now), Err(ErrorCode::BadLength));
    }

    #[test]
    fn parts_of_another_type_end_the_request() {
        let (mut parts, now) = (RequestParts::default(), Instant::now());
        assert_eq!(take(&mut parts, &features(0, 1), true, now), Ok(None));
        assert_eq!(take(&mut parts, &ports(8, 1), false, now), Err(ErrorCode::BadStat));
        assert_eq!(take(&mut parts, &ports(8, 1), false, now), Ok(Some(1)));
    }

    #[test]
    fn a_part_that_is_late_ends_the_request() {
        let (mut parts, now) = (RequestParts::default(), Instant::now());
        assert_eq!(take(&mut parts, &features(64, 1), true, now), Ok(None));
        assert_eq!(parts.deadline(), Some(now + PATIENCE));
        assert_eq!(parts.take_late(now), Vec::<Vec<u8>>::new());
        assert_eq!(parts.take_late(now + PATIENCE), [features(64, 1)]);
        assert_eq!(parts.deadline(), None);
    }

    #[test]
    fn requests_have_a_largest_size_and_a_largest_number() {
        let (mut parts, now) = (RequestParts::default(), Instant::now());
        let part = features(60_000, 1);
        let most = MAX_SIZE / part.len();
        for _ in 0..most {
            assert_eq!(take(&mut parts, &part, true, now), Ok(None));
        }
        assert_eq!(take(&mut parts, &part, true, now), Err(ErrorCode::MultipartOverflow));
        for xid in 0..MAX_REQUESTS as u32 {
            assert_eq!(take(&mut parts, &features(0, xid), true, now), Ok(None));
        }
        let another = features(0, 1000);
        assert_eq!(take(&mut parts, &another, true, now), Err(ErrorCode::MultipartOverflow));
    }
}
