//! Protections against overload: each keeps one port, one host or one loop of cables from using up
//! the time of the workers.
//!
//! | Threat | Mechanism | Constants | Tests | Benchmark |
//! | --- | --- | --- | --- | --- |
//! | Frames of ever new flows keep a worker busy with translations | `upcall_budget`: a port and a source MAC address may cause a number of translations a second while established traffic has to be protected; a translation that looks up many tables or takes many steps counts as several | [`UpcallLimit`] (40,000 a second, a tenth of that at once), `LOOKUP`, `STEP`, `SOURCE_SHARE`, `MUCH`, `MOMENT`, `WHILE`, `LONG` | in the module; `a_flood_is_refused_and_established_traffic_is_not` | `datapath attack` |
//! | That budget is used up by strangers when a known host opens a connection | `established`: hosts whose flows have been in use for half a second have a reserve | `ESTABLISHED_AFTER`, `RESERVE_SHARE` | `an_established_host_makes_new_connections_beside_a_flood_of_made_up_ones` | `datapath attack`, table `connections` |
//! | Frames that go round need ever new states | `policy::recirc`: a port may have as many states kept as there is room for others; a state beyond that lasts for its frame; a large state takes the room of several | `MAX_STATES`, `MAX_PASSING`, `ROOM` | in the module; `a_port_with_ever_new_states_does_not_keep_others_from_going_round` | `datapath attack`, table `states` |
//! | Flows that are used once push out those that are in use | `admission`: full caches take one new flow in 64 while remembering does not pay | `PERIOD`, `SPARSE` | in the module | `datapath cache` |
//! | A loop of cables, or a host gone mad, has every frame flooded to all ports | `storm`: a port may have a number of frames a second flooded by `NORMAL`, of each kind of flood, and a number of copies of all kinds, in every pass of a frame | [`DEFAULT_STORM_LIMIT`](flow::verdict::DEFAULT_STORM_LIMIT) (10,000 a second), `COPIES` (32,000 a second), `BURST` | in the module; `storm_control_limits_every_pass` | `forwarding --ports`, table `floods`; a loop of two cables is `switchd/tests/netns/life.rs` |
//! | Many ports flood at once, each within its own limit | `storm`: the copies that one worker makes have a limit, which the ports that flood share fairly | `COPIES_OF_WORKER` (200,000 a second), `MEMORY` | in the module: `ports_that_flood_together_share_the_limit_of_the_worker` | `forwarding --ports`, table `floods` |
//! | Addresses that move from port to port have cached flows checked and translated again at every frame | `announcements`: workers hear of learned hosts together, every four milliseconds; each translation that an announcement causes delays the next one by 10 µs | `INTERVAL`, `BURST`, `TRANSLATION` | in the module; `an_address_on_two_ports_does_not_keep_all_its_flows_busy` | `datapath attack` |
//! | A few frames ask for thousands of tiny segments, which the worker makes | not here: [`packet::Segmentation`] refuses segments that no host sends, a [`packet::Batch`] ends with frames that ask for many, and a port whose frames were cut waits until others have had as much time, or four times as much if its frames asked for many segments (`switchd/src/worker/debts.rs`) | [`packet::MIN_MSS`] (48 bytes), [`packet::MAX_SEGMENTS`] (512 a frame), `MOST_SEGMENTS` (1,024 a batch) | in these modules; `switchd/tests/memory/offloads.rs` | `datapath attack`, table `segments` |
//! | Packets with ever new addresses make rules without end (`learn`) | `policy::learning`: a table takes a number of learned rules; what finds no room is counted, and the packet goes its way | `MAX_LEARNED` (100,000) | `a_flood_fills_no_table_with_learned_rules` | none yet |
//! | Ever new connections, or SYNs of one address, fill the table of connections | `conntrack`: a source address may have as many connections as there is room for others; a full table forgets the half-open connection of the shard that was idle for longest; limits of zones | [`DEFAULT_MAX_CONNECTIONS`](crate::conntrack::DEFAULT_MAX_CONNECTIONS) (3,000,000) | `a_flood_from_one_address_leaves_room_for_others` | `datapath connections`, table `connections flooded` |
//! | Ever new connections take a worker's time from the established ones | `conntrack::budget`: a port may begin a number of connections a second while established traffic has to be protected; addresses with an answered connection have a reserve; what is beyond is forwarded, and not remembered | `RATE` (75,000 a second, a tenth of that at once), `RESERVE` | in the module | `datapath connections`, table `connections flooded` |
//!
//! A worker owns its `UpcallBudget` and its `Admission`. [`StormControl`], `EstablishedSources` and
//! `Announcements` are shared, and a cached frame that is not flooded touches none of them.

mod admission;
mod announcements;
mod established;
mod storm;
mod upcall_budget;

pub(crate) use admission::Admission;
pub(crate) use announcements::Announcements;
pub(crate) use established::{ESTABLISHED_AFTER, EstablishedSources, Source};
pub use storm::StormControl;
pub(crate) use storm::{Frames, Storm};
pub use upcall_budget::UpcallLimit;
pub(crate) use upcall_budget::{Payer, UpcallBudget, Work};
