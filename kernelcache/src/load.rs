//! Loads the programs and makes their maps. This needs privileges that the switch gives up afterwards.

use crate::layout::{
    self, BUCKETS, FLOOD_DEVICES, FLOOD_LISTS, FLOWS, PROGRAMS, STEP_WORDS, STEPS, TUNNELS, WAYS,
};
use crate::maps::Maps;
use aya::maps::Map;
use aya::programs::{ProgramError, SchedClassifier, SocketFilter};
use aya::util::{KernelVersion, nr_cpus};
use aya::{Ebpf, EbpfLoader, include_bytes_aligned};
use ports::{FloodProgram, KernelHooks, SharedWords, can_wait_for_programs};
use std::error::Error;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// The object that `bpf/build` makes of `bpf/flows.bpf.c`.
static OBJECT: &[u8] = include_bytes_aligned!("../bpf/flows.bpf.o");

/// The first kernel with TCX, which orders programs and ends them with their process.
const OLDEST: KernelVersion = KernelVersion::new(6, 6, 0);
/// The first kernel with `BPF_F_IPV6`, without which the checksum of an IPv6 packet that a device
/// has summed up gets wrong.
const WITH_IPV6_SUMS: KernelVersion = KernelVersion::new(6, 16, 0);

/// asm-generic/errno-base.h: the process may not do that.
const EPERM: i32 = 1;

/// Why there is no kernel cache.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The kernel has no TCX.
    #[error("Linux 6.6 or newer is needed, and this is {0}")]
    OldKernel(String),
    /// The byte order of the machine is another.
    #[error("this machine's byte order is not supported")]
    ByteOrder,
    /// A capability is missing.
    #[error("CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN are needed in the first user namespace")]
    Denied,
    /// The kernel has no membarrier(2), or does not tell how many processors there are.
    #[error("wait for eBPF programs")]
    Wait(#[source] io::Error),
    /// There is no way to wait for programs.
    #[error("there is no way to wait for eBPF programs on a machine with nohz_full processors")]
    NoWait,
    /// Memory of a map cannot be shared.
    #[error("map memory of \"{map}\"")]
    Memory {
        /// The name of the map.
        map: &'static str,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// The process that hands its programs over has others than this one.
    #[error(
        "the program before this one had other eBPF programs: a new start loads those of this one"
    )]
    OtherObject,
    /// The kernel refuses.
    #[error("load the programs")]
    Refused(#[source] Box<dyn Error + Send + Sync>),
}

/// The programs, loaded and not attached, with their maps.
#[derive(Debug)]
pub struct Programs {
    pub(crate) hooks: Arc<KernelHooks>,
    pub(crate) maps: Maps,
    pub(crate) handed: HandedPrograms,
    /// The descriptors of the maps, in the order of [`MAPS`].
    pub(crate) map_fds: Vec<OwnedFd>,
}

/// What a process tells another one that goes on with its programs, beside [`DESCRIPTORS`] descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandedPrograms {
    /// A number that another object does not have.
    pub object: u64,
    /// The number of processors for which there is a place to count.
    pub processors: usize,
    /// The kernel keeps the checksums of IPv6 packets right when addresses change.
    pub has_ipv6_sums: bool,
}

/// The names that the maps have in the object.
const MAPS: [&str; 7] = [
    "shared_conf",
    "shared_table",
    "shared_flows",
    "shared_programs",
    "shared_counts",
    "shared_floods",
    "shared_tunnels",
];
/// The number of descriptors of programs and maps.
pub const DESCRIPTORS: usize = PROGRAM_COUNT + MAPS.len();
/// The number of programs.
const PROGRAM_COUNT: usize = 5;

impl Programs {
    /// Loads the programs.
    ///
    /// # Errors
    /// What is missing, for a person to read.
    pub fn load() -> Result<Self, LoadError> {
        Self::load_with_owner().map(|(programs, _)| programs)
    }

    /// As [`Programs::load`], with the owner of the programs, by which tests run them.
    pub(crate) fn load_with_owner() -> Result<(Self, Ebpf), LoadError> {
        let version = KernelVersion::current().map_err(refused)?;
        if version < OLDEST {
            return Err(LoadError::OldKernel(format!("{version:?}")));
        }
        if cfg!(target_endian = "big") {
            return Err(LoadError::ByteOrder);
        }
        if !can_wait_for_programs().map_err(LoadError::Wait)? {
            return Err(LoadError::NoWait);
        }
        let processors = nr_cpus().map_err(|(_, source)| LoadError::Wait(source))?;
        let mut loader = EbpfLoader::new();
        // The programs read no structure of the kernel, whose description takes long to read.
        loader.btf(None).map_max_entries("shared_counts", (processors * FLOWS) as u32);
        let mut ebpf = loader.load(OBJECT).map_err(refused)?;
        let map_fds = MAPS.map(|map| own_map(&ebpf, map)).into_iter().collect::<Result<_, _>>()?;
        let mut load = |name| load_classifier(&mut ebpf, name).map_err(refused);
        let (executor, executor_of_sent, unwrapper, flood) =
            (load("execute")?, load("execute_sent")?, load("unwrap")?, load("flood")?);
        let judge = load_judge(&mut ebpf).map_err(refused)?;
        let programs = [judge, executor, executor_of_sent, unwrapper, flood];
        let has_ipv6_sums = version >= WITH_IPV6_SUMS;
        let handed = HandedPrograms { object: fingerprint(), processors, has_ipv6_sums };
        Ok((Self::of(programs, map_fds, handed)?, ebpf))
    }

    /// The programs of another process, which has handed them over with descriptors in the order of
    /// [`crate::KernelCache::descriptors`]. What they do does not change before [`crate::KernelCache::resume`].
    ///
    /// # Errors
    /// The other process has other programs.
    pub fn take_over(handed: HandedPrograms, fds: Vec<OwnedFd>) -> Result<Self, LoadError> {
        let mut fds = fds.into_iter();
        let mut fd = || fds.next().ok_or(LoadError::OtherObject);
        if handed.object != fingerprint() {
            return Err(LoadError::OtherObject);
        }
        let programs = [fd()?, fd()?, fd()?, fd()?, fd()?];
        Self::of(programs, fds.collect(), handed)
    }

    /// Programs in the order of [`Self::descriptors`].
    fn of(
        [judge, executor, executor_of_sent, unwrapper, flood]: [OwnedFd; PROGRAM_COUNT],
        map_fds: Vec<OwnedFd>,
        handed: HandedPrograms,
    ) -> Result<Self, LoadError> {
        // Both sides read and write the words.
        let share = |place: usize, words| {
            let map = MAPS[place];
            let fd = map_fds.get(place).ok_or(LoadError::OtherObject)?;
            SharedWords::map(fd.as_fd(), words).map_err(|source| LoadError::Memory { map, source })
        };
        let maps = Maps {
            conf: share(0, layout::conf::WORDS)?,
            table: share(1, BUCKETS * WAYS)?,
            flows: share(2, FLOWS * layout::flow_words::WORDS)?,
            programs: share(3, PROGRAMS * STEPS * STEP_WORDS)?,
            counts: share(4, handed.processors * FLOWS * layout::COUNT_WORDS)?,
            tunnels: share(6, TUNNELS * layout::tunnel_words::WORDS)?,
            processors: handed.processors,
        };
        let lists = share(5, FLOOD_LISTS * FLOOD_DEVICES)?;
        let flood = Arc::new(FloodProgram::new(flood, lists));
        let hooks = KernelHooks { judge, executor, executor_of_sent, unwrapper, flood };
        Ok(Self { hooks: Arc::new(hooks), maps, handed, map_fds })
    }

    /// The descriptors of programs and maps, for another process.
    pub(crate) fn descriptors<'a>(
        hooks: &'a KernelHooks,
        map_fds: &'a [OwnedFd],
    ) -> Vec<BorrowedFd<'a>> {
        let KernelHooks { judge, executor, executor_of_sent, unwrapper, flood } = hooks;
        let programs: [BorrowedFd<'_>; PROGRAM_COUNT] = [
            judge.as_fd(),
            executor.as_fd(),
            executor_of_sent.as_fd(),
            unwrapper.as_fd(),
            flood.as_fd(),
        ];
        programs.into_iter().chain(map_fds.iter().map(AsFd::as_fd)).collect()
    }
}

/// A descriptor of the eBPF map called `map`.
fn own_map(ebpf: &Ebpf, map: &'static str) -> Result<OwnedFd, LoadError> {
    let failed = |source| LoadError::Memory { map, source };
    match ebpf.map(map) {
        Some(Map::Array(data)) => data.fd().as_fd().try_clone_to_owned().map_err(failed),
        _ => Err(failed(io::ErrorKind::NotFound.into())),
    }
}

/// The hash of the object (FNV-1a), which another version of this crate computes, too.
fn fingerprint() -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    OBJECT.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

fn load_judge(ebpf: &mut Ebpf) -> Result<OwnedFd, ProgramError> {
    let program = ebpf.program_mut("judge").ok_or(ProgramError::NotLoaded)?;
    let program: &mut SocketFilter = program.try_into()?;
    program.load()?;
    own(program.fd()?.as_fd())
}

fn load_classifier(ebpf: &mut Ebpf, name: &str) -> Result<OwnedFd, ProgramError> {
    let program = ebpf.program_mut(name).ok_or(ProgramError::NotLoaded)?;
    let program: &mut SchedClassifier = program.try_into()?;
    program.load()?;
    own(program.fd()?.as_fd())
}

fn own(fd: BorrowedFd<'_>) -> Result<OwnedFd, ProgramError> {
    Ok(fd.try_clone_to_owned()?)
}

/// Tells a missing capability from other errors.
fn refused(error: impl Error + Send + Sync + 'static) -> LoadError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(error) = cause {
        let errno = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
        // EACCES would be the verifier's.
        if errno == Some(EPERM) {
            return LoadError::Denied;
        }
        cause = error.source();
    }
    LoadError::Refused(Box::new(error))
}
