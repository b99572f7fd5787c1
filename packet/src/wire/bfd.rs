//! Control packets of bidirectional forwarding detection (RFC 5880 §4.1): two systems tell
//! each other that packets arrive.

use super::{Field, WireError, check_size, put_u32, u32_at};
use std::fmt;

/// The byte ranges of the fields in the mandatory section.
#[allow(missing_docs, reason = "the names are the standard's")]
pub mod field {
    use super::Field;

    /// Version in the upper 3 bits, diagnostic in the lower 5.
    pub const VERSION_AND_DIAGNOSTIC: usize = 0;
    /// State in the upper 2 bits, flags in the lower 6.
    pub const STATE_AND_FLAGS: usize = 1;
    pub const DETECT_MULTIPLIER: usize = 2;
    pub const SIZE: usize = 3;
    pub const MY_DISCRIMINATOR: Field = 4..8;
    pub const YOUR_DISCRIMINATOR: Field = 8..12;
    pub const DESIRED_MIN_TX: Field = 12..16;
    pub const REQUIRED_MIN_RX: Field = 16..20;
    pub const REQUIRED_MIN_ECHO_RX: Field = 20..24;
}

/// Size of the mandatory section in bytes.
pub const SIZE: usize = field::REQUIRED_MIN_ECHO_RX.end;
/// The version that RFC 5880 defines.
pub const VERSION: u8 = 1;
/// The UDP port to which control packets of a single hop go (RFC 5881 §4).
pub const UDP_PORT: u16 = 3784;
/// The TTL or hop limit of control packets of a single hop (RFC 5881 §5).
pub const TTL: u8 = 255;

/// The flag (P) that asks for an answer at once.
pub const POLL: u8 = 0x20;
/// The flag (F) of the answer to [`POLL`].
pub const FINAL: u8 = 0x10;
/// The flag (A) that says that an authentication section follows.
pub const AUTHENTICATION: u8 = 0x04;
/// The flag (M) that is reserved, and zero.
pub const MULTIPOINT: u8 = 0x01;

/// The state of a session, as a control packet tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BfdState {
    /// Somebody has switched the session off.
    AdminDown,
    /// Packets do not arrive, as far as the sender knows.
    #[default]
    Down,
    /// The sender hears the receiver, and does not know yet whether the receiver hears it.
    Init,
    /// Both hear each other.
    Up,
}

impl BfdState {
    /// The state with this number in packets, 0 to 3. Of a larger number, the lowest two bits count.
    pub fn of_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::AdminDown,
            1 => Self::Down,
            2 => Self::Init,
            _ => Self::Up,
        }
    }

    /// The name that Open vSwitch prints: `admin_down`, `down`, `init` or `up`.
    pub fn name(self) -> &'static str {
        match self {
            Self::AdminDown => "admin_down",
            Self::Down => "down",
            Self::Init => "init",
            Self::Up => "up",
        }
    }
}

/// A view over a control packet, the payload of a UDP datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BfdPacket<T> {
    buffer: T,
}

impl<T: AsRef<[u8]>> BfdPacket<T> {
    /// A view of `buffer` as a control packet, without any check ([when methods panic](super#panics)).
    #[inline]
    pub const fn new_unchecked(buffer: T) -> Self {
        Self { buffer }
    }

    /// A view of `buffer` as a control packet. The version and the values
    /// are not checked: ask [`BfdPacket::is_valid`].
    ///
    /// # Errors
    /// The buffer is shorter than the mandatory section.
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, WireError> {
        check_size("BFD", buffer.as_ref(), SIZE)?;
        Ok(Self { buffer })
    }

    /// The buffer under the view.
    #[inline]
    pub fn into_inner(self) -> T {
        self.buffer
    }

    /// Whether a receiver without authentication may use the packet (RFC 5880 §6.8.6).
    pub fn is_valid(&self) -> bool {
        let bytes = self.buffer.as_ref();
        let size = usize::from(bytes[field::SIZE]);
        bytes[field::VERSION_AND_DIAGNOSTIC] >> 5 == VERSION
            && (SIZE..=bytes.len()).contains(&size)
            && self.flags() & (AUTHENTICATION | MULTIPOINT) == 0
            && self.detect_multiplier() != 0
            && self.my_discriminator() != 0
            && (self.your_discriminator() != 0
                || matches!(self.state(), BfdState::Down | BfdState::AdminDown))
    }

    /// Why the sender's state was last changed to down (RFC 5880 §4.1), 0 to 31.
    #[inline]
    pub fn diagnostic(&self) -> u8 {
        self.buffer.as_ref()[field::VERSION_AND_DIAGNOSTIC] & 0x1f
    }

    /// The state of the session at the sender.
    #[inline]
    pub fn state(&self) -> BfdState {
        BfdState::of_bits(self.buffer.as_ref()[field::STATE_AND_FLAGS] >> 6)
    }

    /// The flags ([`POLL`], [`FINAL`] and others).
    #[inline]
    pub fn flags(&self) -> u8 {
        self.buffer.as_ref()[field::STATE_AND_FLAGS] & 0x3f
    }

    /// How many packets in a row may be missing.
    #[inline]
    pub fn detect_multiplier(&self) -> u8 {
        self.buffer.as_ref()[field::DETECT_MULTIPLIER]
    }

    /// The sender's number of the session.
    #[inline]
    pub fn my_discriminator(&self) -> u32 {
        u32_at(self.buffer.as_ref(), field::MY_DISCRIMINATOR)
    }

    /// The receiver's number of the session; 0 if the sender does not know it.
    #[inline]
    pub fn your_discriminator(&self) -> u32 {
        u32_at(self.buffer.as_ref(), field::YOUR_DISCRIMINATOR)
    }

    /// The interval in which the sender would like to send, in microseconds.
    #[inline]
    pub fn desired_min_tx(&self) -> u32 {
        u32_at(self.buffer.as_ref(), field::DESIRED_MIN_TX)
    }

    /// The shortest interval in which the sender can receive, in microseconds; 0 asks for no packets.
    #[inline]
    pub fn required_min_rx(&self) -> u32 {
        u32_at(self.buffer.as_ref(), field::REQUIRED_MIN_RX)
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> BfdPacket<T> {
    /// Writes the version, the size of a packet without authentication, that no echo packets are wanted, and
    /// what else no setter writes.
    #[inline]
    pub fn begin(&mut self, diagnostic: u8, state: BfdState, flags: u8) {
        let bytes = self.buffer.as_mut();
        bytes[..SIZE].fill(0);
        bytes[field::VERSION_AND_DIAGNOSTIC] = VERSION << 5 | diagnostic & 0x1f;
        bytes[field::STATE_AND_FLAGS] = (state as u8) << 6 | flags & 0x3f;
        bytes[field::SIZE] = SIZE as u8;
    }

    /// Writes how many packets in a row may be missing.
    #[inline]
    pub fn set_detect_multiplier(&mut self, value: u8) {
        self.buffer.as_mut()[field::DETECT_MULTIPLIER] = value;
    }

    /// Writes the numbers of the session, the sender's and the receiver's.
    #[inline]
    pub fn set_discriminators(&mut self, mine: u32, yours: u32) {
        put_u32(self.buffer.as_mut(), field::MY_DISCRIMINATOR, mine);
        put_u32(self.buffer.as_mut(), field::YOUR_DISCRIMINATOR, yours);
    }

    /// Writes the sender's intervals for sending and receiving, in microseconds.
    #[inline]
    pub fn set_intervals(&mut self, desired_min_tx: u32, required_min_rx: u32) {
        put_u32(self.buffer.as_mut(), field::DESIRED_MIN_TX, desired_min_tx);
        put_u32(self.buffer.as_mut(), field::REQUIRED_MIN_RX, required_min_rx);
    }
}

impl<T: AsRef<[u8]>> fmt::Display for BfdPacket<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (state, flags, diagnostic) = (self.state().name(), self.flags(), self.diagnostic());
        write!(f, "BFD state={state} flags={flags:#x} diag={diagnostic}")?;
        write!(f, " my={:#x} your={:#x}", self.my_discriminator(), self.your_discriminator())?;
        write!(f, " min_tx={}us min_rx={}us", self.desired_min_tx(), self.required_min_rx())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rustfmt::skip]
    const UP: [u8; SIZE] = [
        0x23, 0xe0, 3, 24, 0, 0, 0, 7, 0, 0, 0, 9, 0, 1, 0x86, 0xa0, 0, 0x0f, 0x42, 0x40, 0, 0, 0, 0,
    ];

    #[test]
    fn fields_are_where_the_standard_has_them() {
        let packet = BfdPacket::new_checked(&UP).unwrap();
        assert!(packet.is_valid());
        assert_eq!((packet.diagnostic(), packet.state(), packet.flags()), (3, BfdState::Up, POLL));
        assert_eq!((packet.my_discriminator(), packet.your_discriminator()), (7, 9));
        assert_eq!((packet.desired_min_tx(), packet.required_min_rx()), (100_000, 1_000_000));
        assert_eq!(
            packet.to_string(),
            "BFD state=up flags=0x20 diag=3 my=0x7 your=0x9 min_tx=100000us min_rx=1000000us"
        );
        let mut written = [0xff; SIZE];
        let mut packet = BfdPacket::new_unchecked(&mut written);
        packet.begin(3, BfdState::Up, POLL);
        packet.set_detect_multiplier(3);
        packet.set_discriminators(7, 9);
        packet.set_intervals(100_000, 1_000_000);
        assert_eq!(written, UP);
        assert!(BfdPacket::new_checked(&UP[..SIZE - 1]).is_err());
    }

    #[test]
    fn packets_that_break_the_standard_are_not_valid() {
        let is_valid = |change: &dyn Fn(&mut [u8; SIZE])| {
            let mut bytes = UP;
            change(&mut bytes);
            BfdPacket::new_unchecked(&bytes).is_valid()
        };
        assert!(!is_valid(&|p| p[0] = 0x43), "version 2");
        assert!(!is_valid(&|p| p[1] |= AUTHENTICATION));
        assert!(!is_valid(&|p| p[1] |= MULTIPOINT));
        assert!(!is_valid(&|p| p[2] = 0), "detect multiplier");
        assert!(!is_valid(&|p| p[3] = 23), "too short");
        assert!(!is_valid(&|p| p[3] = 25), "longer than the datagram");
        assert!(!is_valid(&|p| p[7] = 0), "no discriminator");
        assert!(!is_valid(&|p| p[11] = 0), "up without knowing the other one");
        assert!(is_valid(&|p| (p[11], p[1]) = (0, 0x40)), "down without knowing the other one");
    }
}
