//! What a controller is told of a packet that the rules gave to it, beside the packet itself.

/// Why a packet goes to a controller (OpenFlow `OFPR_*`). The discriminants are the numbers that actions, and
/// messages of OpenFlow 1.4, have for the reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum PacketInReason {
    /// An action says so (`controller(reason=no_match)`).
    NoMatch = 0,
    /// An action asks for it.
    Action = 1,
    /// The TTL ran out.
    InvalidTtl = 2,
    /// An output of the action set, which messages have since OpenFlow 1.4.
    ActionSet = 3,
    /// An output of a group's bucket, which messages have since OpenFlow 1.4.
    Group = 4,
    /// An output of a packet-out, which messages have since OpenFlow 1.4.
    PacketOut = 5,
    /// An output of a table's rule for what the others leave: priority 0, and a match for every packet.
    /// Messages call it `NoMatch` since OpenFlow 1.3, and `Action` before.
    ExplicitMiss = 6,
    /// A table has no rule for the packet. Messages call it `NoMatch`. Controllers of OpenFlow 1.3 and later
    /// are not told of such packets (OpenFlow 1.3.5 §5.4).
    ImplicitMiss = 7,
}

impl PacketInReason {
    /// Every reason, in the order of the numbers.
    pub const ALL: [Self; 8] = [
        Self::NoMatch,
        Self::Action,
        Self::InvalidTtl,
        Self::ActionSet,
        Self::Group,
        Self::PacketOut,
        Self::ExplicitMiss,
        Self::ImplicitMiss,
    ];

    /// The reason with a number that an action or a message has; `None` if there is none.
    pub fn of_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied().filter(|reason| *reason < Self::ExplicitMiss)
    }

    /// The name that rules and traces have for the reason. Misses have the one that controllers are told.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoMatch | Self::ExplicitMiss | Self::ImplicitMiss => "no_match",
            Self::Action => "action",
            Self::InvalidTtl => "invalid_ttl",
            Self::ActionSet => "action_set",
            Self::Group => "group",
            Self::PacketOut => "packet_out",
        }
    }

    /// Whether the packet goes to a controller because no rule says better.
    pub fn is_miss(self) -> bool {
        matches!(self, Self::NoMatch | Self::ExplicitMiss | Self::ImplicitMiss)
    }
}
