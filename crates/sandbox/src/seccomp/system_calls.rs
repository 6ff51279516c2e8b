//! The system calls that a process with tokio, hyper and V8 makes after its start, by what they are for. What one of them
//! can do beyond that is cut off by its arguments, as far as a filter sees them: numbers, never what a pointer points to.

use std::collections::BTreeMap;

use libc::{c_int, c_long};
use seccompiler::{
    BackendError, SeccompCmpArgLen as Length, SeccompCmpOp as Compare, SeccompCondition as Condition,
    SeccompRule as Rule,
};

/// The system calls that are allowed: any of the rules, or always where there is none.
pub(super) type Rules = BTreeMap<c_long, Vec<Rule>>;

/// Calls that a filter cannot look into, since their arguments are behind a pointer. To whoever makes them the kernel is
/// too old for them; the C library then makes the older call.
pub(super) const ABSENT: &[c_long] = &[libc::SYS_clone3, libc::SYS_openat2];

/// Allowed with any arguments.
#[rustfmt::skip]
const ALWAYS: &[c_long] = &[
    // what is open
    libc::SYS_read, libc::SYS_readv, libc::SYS_pread64, libc::SYS_preadv, libc::SYS_write, libc::SYS_writev, libc::SYS_lseek,
    libc::SYS_close, libc::SYS_close_range, libc::SYS_dup, libc::SYS_dup3, libc::SYS_pipe2, libc::SYS_fadvise64,
    // files: Landlock decides which can be opened
    libc::SYS_fstat, libc::SYS_newfstatat, libc::SYS_statx, libc::SYS_getdents64, libc::SYS_readlinkat, libc::SYS_faccessat,
    libc::SYS_faccessat2, libc::SYS_getcwd,
    // waiting for many at once
    libc::SYS_epoll_create1, libc::SYS_epoll_ctl, libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2, libc::SYS_eventfd2,
    libc::SYS_ppoll, libc::SYS_pselect6,
    // connections; what listens is there already
    libc::SYS_connect, libc::SYS_accept, libc::SYS_accept4, libc::SYS_shutdown, libc::SYS_getsockname, libc::SYS_getpeername,
    libc::SYS_getsockopt, libc::SYS_sendto, libc::SYS_sendmsg, libc::SYS_sendmmsg, libc::SYS_recvfrom, libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    // the C library binds its netlink socket; Landlock decides about TCP
    libc::SYS_bind,
    // memory, also memory that is executed: V8 compiles
    libc::SYS_brk, libc::SYS_mmap, libc::SYS_munmap, libc::SYS_mremap, libc::SYS_mprotect, libc::SYS_madvise, libc::SYS_mseal,
    libc::SYS_pkey_alloc, libc::SYS_pkey_free, libc::SYS_pkey_mprotect,
    // threads
    libc::SYS_futex, libc::SYS_set_robust_list, libc::SYS_rseq, libc::SYS_set_tid_address, libc::SYS_membarrier,
    libc::SYS_exit, libc::SYS_exit_group, libc::SYS_sched_yield, libc::SYS_sched_getaffinity, libc::SYS_sched_setaffinity,
    libc::SYS_sched_getattr, libc::SYS_sched_setattr, libc::SYS_sched_getparam, libc::SYS_sched_getscheduler,
    libc::SYS_sched_get_priority_min, libc::SYS_sched_get_priority_max, libc::SYS_getpriority,
    // signals that arrive
    libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn, libc::SYS_sigaltstack, libc::SYS_restart_syscall,
    // time
    libc::SYS_clock_gettime, libc::SYS_clock_getres, libc::SYS_clock_nanosleep, libc::SYS_nanosleep, libc::SYS_gettimeofday,
    // what this process and machine are
    libc::SYS_getpid, libc::SYS_getppid, libc::SYS_gettid, libc::SYS_getuid, libc::SYS_geteuid, libc::SYS_getgid,
    libc::SYS_getegid, libc::SYS_getrusage, libc::SYS_getcpu, libc::SYS_getrandom, libc::SYS_sysinfo, libc::SYS_uname,
];

/// Allowed with any arguments where the architecture has them: what newer architectures have only one form of.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const ALWAYS_HERE: &[c_long] = &[
    libc::SYS_stat, libc::SYS_lstat, libc::SYS_access, libc::SYS_readlink, libc::SYS_dup2, libc::SYS_pipe, libc::SYS_poll,
    libc::SYS_select, libc::SYS_epoll_wait, libc::SYS_time, libc::SYS_getrlimit, libc::SYS_arch_prctl,
];
#[cfg(not(target_arch = "x86_64"))]
const ALWAYS_HERE: &[c_long] = &[];

/// Flags of a file that is opened to be read, and neither made nor emptied.
const NOT_READING: c_int = libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC;

/// Everything that could make a new thread part of something else than this process.
const NEW_NAMESPACE: c_int = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;

const SOCKET_KIND: c_int = !(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC);

const FCNTL: &[c_int] =
    &[libc::F_DUPFD, libc::F_DUPFD_CLOEXEC, libc::F_GETFD, libc::F_SETFD, libc::F_GETFL, libc::F_SETFL];

/// Names of threads and of memory, and small pages, are the process's own affair.
const PRCTL: &[c_int] = &[
    libc::PR_SET_NAME,
    libc::PR_SET_VMA,
    libc::PR_SET_THP_DISABLE,
    libc::PR_GET_NAME,
    libc::PR_GET_DUMPABLE,
    libc::PR_GET_NO_NEW_PRIVS,
    libc::PR_GET_PDEATHSIG,
    libc::PR_GET_SECCOMP,
    libc::PR_GET_THP_DISABLE,
    libc::PR_GET_TIMERSLACK,
];

/// Options that hyper, tokio and the C library's resolver set. Others reach deep into the kernel: filters, TLS.
const SOCKET_OPTIONS: &[(c_int, &[c_int])] = &[
    (
        libc::SOL_SOCKET,
        &[
            libc::SO_KEEPALIVE,
            libc::SO_LINGER,
            libc::SO_RCVBUF,
            libc::SO_SNDBUF,
            libc::SO_RCVTIMEO,
            libc::SO_SNDTIMEO,
            libc::SO_REUSEADDR,
        ],
    ),
    (
        libc::IPPROTO_TCP,
        &[
            libc::TCP_NODELAY,
            libc::TCP_KEEPIDLE,
            libc::TCP_KEEPINTVL,
            libc::TCP_KEEPCNT,
            libc::TCP_QUICKACK,
            libc::TCP_USER_TIMEOUT,
        ],
    ),
    (libc::IPPROTO_IP, &[libc::IP_RECVERR, libc::IP_MTU_DISCOVER]),
    (libc::IPPROTO_IPV6, &[libc::IPV6_RECVERR, libc::IPV6_MTU_DISCOVER, libc::IPV6_V6ONLY]),
];

/// All that is allowed to the process with the identifier `process`, and [`ABSENT`], to which another filter answers.
pub(super) fn allowed(process: u32) -> Result<Rules, BackendError> {
    let process = u64::from(process);
    let always = [ABSENT, ALWAYS, ALWAYS_HERE].concat().into_iter().map(|number| (number, Vec::new()));
    let mut rules: Rules = always.collect();
    rules.extend([
        (libc::SYS_openat, vec![Rule::new(vec![masked(2, NOT_READING, libc::O_RDONLY)?])?]),
        // Threads of this process, and no process.
        (libc::SYS_clone, vec![Rule::new(vec![masked(0, libc::CLONE_THREAD | NEW_NAMESPACE, libc::CLONE_THREAD)?])?]),
        (libc::SYS_socket, sockets()?),
        // Streams, which stay with their other end: a datagram could go to any socket of the machine.
        (
            libc::SYS_socketpair,
            vec![Rule::new(vec![is(0, libc::AF_UNIX)?, masked(1, SOCKET_KIND, libc::SOCK_STREAM)?])?],
        ),
        (libc::SYS_setsockopt, socket_options()?),
        (libc::SYS_fcntl, any_of(1, FCNTL)?),
        (
            libc::SYS_ioctl,
            vec![
                Rule::new(vec![equals(1, libc::FIONBIO)?])?,
                Rule::new(vec![equals(1, libc::FIONREAD)?])?,
                Rule::new(vec![equals(1, libc::TCGETS)?])?,
            ],
        ),
        (libc::SYS_prctl, any_of(0, PRCTL)?),
        // Its own limits, and no new ones.
        (libc::SYS_prlimit64, vec![Rule::new(vec![equals(0, 0)?, Condition::new(2, Length::Qword, Compare::Eq, 0)?])?]),
        (libc::SYS_setpriority, vec![Rule::new(vec![equals(0, u64::from(libc::PRIO_PROCESS))?])?]),
        // Signals to itself: abort.
        (libc::SYS_kill, vec![Rule::new(vec![equals(0, process)?])?]),
        (libc::SYS_tkill, vec![Rule::new(vec![equals(0, process)?])?]),
        (libc::SYS_tgkill, vec![Rule::new(vec![equals(0, process)?])?]),
    ]);
    #[cfg(target_arch = "x86_64")]
    rules.insert(libc::SYS_open, vec![Rule::new(vec![masked(1, NOT_READING, libc::O_RDONLY)?])?]);
    Ok(rules)
}

/// TCP and UDP, and netlink for what addresses this machine has (`getaddrinfo` sorts by it). No sockets of the machine
/// itself, behind which privileged services are, and no other protocol: Landlock does not know the ports of MPTCP.
fn sockets() -> Result<Vec<Rule>, BackendError> {
    let mut rules = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        for (kind, protocol) in [(libc::SOCK_STREAM, libc::IPPROTO_TCP), (libc::SOCK_DGRAM, libc::IPPROTO_UDP)] {
            for protocol in [0, protocol] {
                rules.push(Rule::new(vec![is(0, family)?, masked(1, SOCKET_KIND, kind)?, is(2, protocol)?])?);
            }
        }
    }
    rules.push(Rule::new(vec![is(0, libc::AF_NETLINK)?, is(2, libc::NETLINK_ROUTE)?])?);
    Ok(rules)
}

fn socket_options() -> Result<Vec<Rule>, BackendError> {
    let options =
        SOCKET_OPTIONS.iter().flat_map(|&(level, options)| options.iter().map(move |&option| (level, option)));
    options.map(|(level, option)| Rule::new(vec![is(1, level)?, is(2, option)?])).collect()
}

/// One of `values` is argument number `argument`.
fn any_of(argument: u8, values: &[c_int]) -> Result<Vec<Rule>, BackendError> {
    values.iter().map(|&value| Rule::new(vec![is(argument, value)?])).collect()
}

fn is(argument: u8, value: c_int) -> Result<Condition, BackendError> {
    equals(argument, value.cast_unsigned().into())
}

fn masked(argument: u8, mask: c_int, value: c_int) -> Result<Condition, BackendError> {
    let (mask, value) = (mask.cast_unsigned(), value.cast_unsigned());
    Condition::new(argument, Length::Dword, Compare::MaskedEq(mask.into()), value.into())
}

fn equals(argument: u8, value: u64) -> Result<Condition, BackendError> {
    Condition::new(argument, Length::Dword, Compare::Eq, value)
}
