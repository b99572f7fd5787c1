//! HELLO: which versions a peer speaks (OpenFlow 1.3.5 §7.5.1).

use crate::error::ErrorCode;
use crate::header::{MessageHeader, version_number};
use crate::input::Input;
use crate::output::Encoder;
use flow::types::OfVersion;

/// The type of the element of a HELLO that lists versions (`OFPHET_VERSIONBITMAP`).
const VERSION_BITMAP: u16 = 1;

/// The bitmap of versions: bit `n` is the version with number `n`.
pub(crate) fn put(out: &mut Encoder, versions: &[OfVersion]) {
    out.u16(VERSION_BITMAP);
    out.u16(8);
    out.u32(versions.iter().map(|version| 1 << version_number(*version)).fold(0, |a, b| a | b));
}

/// The versions of a HELLO. A HELLO without a bitmap, or with an empty one, means every version up to that of
/// its header (OpenFlow 1.3.5 §6.3.1). Of two bitmaps, the second one counts, as in Open vSwitch.
pub(crate) fn decode(header: MessageHeader, mut body: Input<'_>) -> Vec<OfVersion> {
    let mut bitmap = None;
    while let (Ok(kind), Ok(len)) = (body.u16(), body.u16().map(usize::from)) {
        let Some(mut element) =
            len.checked_sub(4).and_then(|size| body.part(size, ErrorCode::HelloIncompatible).ok())
        else {
            break;
        };
        body.skip_padding(len);
        // Bit 0 stands for no version.
        if kind == VERSION_BITMAP
            && let Ok(bits) = element.u32()
            && bits & !1 != 0
        {
            bitmap = Some(bits);
        }
    }
    let is_meant = |number: u8| match bitmap {
        Some(bits) => bits >> number & 1 != 0,
        None => number <= header.version,
    };
    OfVersion::ALL.into_iter().filter(|version| is_meant(version_number(*version))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use OfVersion::{OpenFlow10, OpenFlow13};

    fn check(elements: &[u8], expected: &[OfVersion]) {
        let header = MessageHeader { version: 1, kind: 0, len: 8, xid: 0 };
        let versions = decode(header, Input::new(elements, ErrorCode::BadLength));
        assert_eq!(versions, expected, "{elements:?}");
    }

    #[test]
    fn a_bitmap_that_names_no_version_is_none() {
        check(&[0, 1, 0, 8, 0, 0, 0, 0x10], &[OpenFlow13]);
        check(&[0, 1, 0, 8, 0, 0, 0, 0], &[OpenFlow10]);
        check(&[0, 1, 0, 8, 0, 0, 0, 1], &[OpenFlow10]);
        check(&[0, 1, 0, 8, 0, 0, 0, 0, 0, 1, 0, 8, 0, 0, 0, 0x10], &[OpenFlow13]);
        check(&[0, 1, 0, 8, 0, 0, 0, 0x10, 0, 1, 0, 8, 0, 0, 0, 0], &[OpenFlow13]);
    }

    #[test]
    fn the_second_bitmap_counts() {
        check(&[0, 1, 0, 8, 0, 0, 0, 2, 0, 1, 0, 8, 0, 0, 0, 0x10], &[OpenFlow13]);
    }
}
