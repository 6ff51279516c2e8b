//! What still works in the sandbox and what does not, on the kernel that runs the tests. The sandbox is for good, and for a
//! thread and those that it starts: each test enters it on a thread of its own.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::thread;

use libc::{c_int, c_long};
use skep_sandbox::{InForce, Needs, enter};

/// Runs `test` in the sandbox, where these paths can be read.
fn inside<T: Send + 'static>(read: &[&Path], test: impl FnOnce(&InForce) -> T + Send + 'static) -> T {
    let needs = Needs { read: read.iter().map(PathBuf::from).collect() };
    let entered = thread::spawn(move || test(&enter(&needs)));
    entered.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// That the filter of system calls refused this.
#[track_caller]
fn refused<T>(result: io::Result<T>) {
    assert_eq!(result.err().and_then(|error| error.raw_os_error()), Some(libc::EPERM));
}

/// That Landlock or the filter refused this.
#[track_caller]
fn denied<T>(result: io::Result<T>) {
    assert_eq!(result.err().map(|error| error.kind()), Some(io::ErrorKind::PermissionDenied));
}

/// A system call that the kernel itself would answer with another error than the sandbox's, or that changes nothing.
fn call(number: c_long, arguments: [c_long; 4]) -> io::Result<c_long> {
    let [a, b, c, d] = arguments;
    // SAFETY: no argument is a pointer to memory, except null and what `memory_is_executed` mapped itself.
    match unsafe { libc::syscall(number, a, b, c, d, 0, 0) } {
        -1 => Err(io::Error::last_os_error()),
        result => Ok(result),
    }
}

fn socket(family: c_int, kind: c_int, protocol: c_int) -> io::Result<c_long> {
    call(libc::SYS_socket, [family.into(), kind.into(), protocol.into(), 0])
}

#[test]
fn the_kernel_and_the_text_say_what_is_in_force() {
    inside(&["/proc".as_ref()], |in_force| {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        assert_eq!(field("NoNewPrivs:"), Some("1"));
        assert_eq!(field("Seccomp:"), Some("2"));
        assert!(in_force.no_new_privileges.is_on() && in_force.seccomp.is_on(), "{in_force}");
        let text = in_force.to_string();
        eprintln!("{text}");
        for name in ["no new privileges", "landlock", "seccomp"] {
            assert!(text.contains(name), "{text}");
        }
        assert_eq!(text.lines().count(), 1);
    });
}

#[test]
fn files_are_read_where_it_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let (open, closed) = (folder.path().join("open"), folder.path().join("closed"));
    for folder in [&open, &closed] {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("file"), "jello").unwrap();
    }
    symlink(closed.join("file"), open.join("link")).unwrap();
    let read = [open.clone(), "/there/is/nothing/here".into()];
    inside(&read.each_ref().map(PathBuf::as_path), move |in_force| {
        assert_eq!(fs::read_to_string(open.join("file")).unwrap(), "jello");
        assert_eq!(fs::metadata(open.join("file")).unwrap().len(), 5);
        assert_eq!(fs::read_dir(&open).unwrap().count(), 2);
        if in_force.landlock.is_on() {
            denied(File::open(closed.join("file")));
            denied(File::open(open.join("link")));
            denied(fs::read_dir(&closed));
            denied(File::open("/etc/passwd"));
        } else {
            eprintln!("not tested: reading elsewhere. {in_force}");
        }
    });
}

#[test]
fn nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "jello").unwrap();
    let elsewhere = folder.path().join("elsewhere");
    inside(&[folder.path()], move |_| {
        refused(File::create(&file));
        refused(File::create_new(&elsewhere));
        refused(File::options().append(true).open(&file));
        refused(File::options().read(true).write(true).open(&file));
        refused(File::options().write(true).open("/dev/null"));
        refused(fs::remove_file(&file));
        refused(fs::rename(&file, &elsewhere));
        refused(fs::hard_link(&file, &elsewhere));
        refused(symlink(&file, &elsewhere));
        refused(fs::create_dir(&elsewhere));
        refused(fs::copy(&file, &elsewhere));
        refused(fs::set_permissions(&file, fs::metadata(&file).unwrap().permissions()));
        refused(File::open(&file).unwrap().set_len(0));
        assert_eq!(fs::read_to_string(&file).unwrap(), "jello");
    });
}

#[test]
fn no_process_is_started() {
    inside(&["/".as_ref()], |_| {
        refused(Command::new("/bin/true").status());
        refused::<()>(Err(Command::new("/bin/true").exec()));
        refused(call(libc::SYS_clone, [libc::SIGCHLD.into(), 0, 0, 0]));
        let thread = libc::CLONE_THREAD | libc::CLONE_SIGHAND | libc::CLONE_VM;
        refused(call(libc::SYS_clone, [(thread | libc::CLONE_NEWNET).into(), 0, 0, 0]));
        // The C library makes a thread with `clone` where there is no `clone3`, and with nothing where it is refused.
        assert_eq!(call(libc::SYS_clone3, [0; 4]).unwrap_err().raw_os_error(), Some(libc::ENOSYS));
    });
}

#[test]
fn threads_start_in_the_sandbox() {
    inside(&[], |_| {
        let threads: Vec<_> = (0..8)
            .map(|number| {
                let thread = thread::Builder::new().name(format!("thread {number}"));
                thread.spawn(move || denied(File::create(std::env::temp_dir().join("skep-sandbox")))).unwrap()
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(thread::available_parallelism().is_ok());
    });
}

#[test]
fn connections_go_out_and_come_in_where_somebody_listened_before() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    inside(&[], move |_| {
        let mut here = TcpStream::connect(address).unwrap();
        here.set_nodelay(true).unwrap();
        let (mut there, _) = listener.accept().unwrap();
        there.write_all(b"jello").unwrap();
        drop(there);
        let mut text = String::new();
        here.read_to_string(&mut text).unwrap();
        assert_eq!(text, "jello");
    });
}

#[test]
fn nobody_listens_anew() {
    inside(&[], |in_force| {
        denied(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
        denied(UnixListener::bind(std::env::temp_dir().join("skep-sandbox.socket")));
        // Without a port of its own a socket would get one when it listens, which Landlock does not see.
        let socket = socket(libc::AF_INET, libc::SOCK_STREAM, 0).unwrap();
        refused(call(libc::SYS_listen, [socket, 1, 0, 0]));
        eprintln!("{in_force}");
    });
}

#[test]
fn names_resolve() {
    inside(&["/etc".as_ref(), "/usr".as_ref(), "/lib".as_ref()], |_| {
        assert!(("localhost", 80).to_socket_addrs().unwrap().all(|address| address.ip().is_loopback()));
    });
}

#[test]
fn a_question_to_a_name_server_goes_out() {
    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = server.local_addr().unwrap();
    inside(&[], move |_| {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert_eq!(socket.send_to(b"jello", address).unwrap(), 5);
        assert_eq!(server.recv(&mut [0; 8]).unwrap(), 5);
    });
}

#[test]
fn sockets_are_tcp_and_udp() {
    inside(&[], |_| {
        for family in [libc::AF_INET, libc::AF_INET6] {
            refused(socket(family, libc::SOCK_RAW, libc::IPPROTO_ICMP));
            refused(socket(family, libc::SOCK_DGRAM, libc::IPPROTO_ICMP));
            refused(socket(family, libc::SOCK_STREAM, libc::IPPROTO_MPTCP));
            refused(socket(family, libc::SOCK_STREAM, libc::IPPROTO_SCTP));
        }
        for family in [libc::AF_UNIX, libc::AF_PACKET, libc::AF_VSOCK, libc::AF_ALG, libc::AF_BLUETOOTH, libc::AF_XDP] {
            refused(socket(family, libc::SOCK_STREAM, 0));
            refused(socket(family, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0));
        }
        refused(socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_NETFILTER));
        refused(UnixDatagram::pair());
        UnixStream::pair().unwrap();

        let tcp = socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0).unwrap();
        for (level, option) in [(libc::SOL_SOCKET, libc::SO_ATTACH_FILTER), (libc::IPPROTO_TCP, libc::TCP_ULP)] {
            refused(call(libc::SYS_setsockopt, [tcp, level.into(), option.into(), 0]));
        }
    });
}

#[test]
fn only_this_process_gets_signals() {
    inside(&[], |_| {
        let this = c_long::from(process::id());
        let parent = c_long::from(std::os::unix::process::parent_id());
        // Signal 0 is none: the kernel only looks whether it could be sent.
        for to in [parent, 0, -1, 1] {
            refused(call(libc::SYS_kill, [to, 0, 0, 0]));
        }
        refused(call(libc::SYS_tkill, [parent, 0, 0, 0]));
        refused(call(libc::SYS_tgkill, [parent, parent, 0, 0]));
        refused(call(libc::SYS_pidfd_open, [parent, 0, 0, 0]));
        assert_eq!(call(libc::SYS_kill, [this, 0, 0, 0]).unwrap(), 0);
        assert_eq!(call(libc::SYS_tgkill, [this, this, 0, 0]).unwrap(), 0);
    });
}

#[test]
fn memory_is_executed() {
    inside(&[], |_| {
        let private = c_long::from(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let readable = c_long::from(libc::PROT_READ);
        let page = call(libc::SYS_mmap, [0, 4096, readable, private]).unwrap();
        let executable = c_long::from(libc::PROT_READ | libc::PROT_EXEC);
        assert_eq!(call(libc::SYS_mprotect, [page, 4096, executable, 0]).unwrap(), 0);
        assert_eq!(call(libc::SYS_munmap, [page, 4096, 0, 0]).unwrap(), 0);
    });
}

#[test]
fn numbers_decide_what_a_call_may_do() {
    inside(&[], |_| {
        let socket = socket(libc::AF_INET, libc::SOCK_STREAM, 0).unwrap();
        refused(call(libc::SYS_fcntl, [socket, libc::F_SETOWN.into(), process::id().into(), 0]));
        refused(call(libc::SYS_ioctl, [socket, libc::SIOCGIFCONF as c_long, 0, 0]));
        refused(call(libc::SYS_prctl, [libc::PR_SET_DUMPABLE.into(), 1, 0, 0]));
        refused(call(libc::SYS_prctl, [libc::PR_SET_PTRACER.into(), -1, 0, 0]));
        refused(call(libc::SYS_prctl, [libc::PR_SET_MM.into(), 0, 0, 0]));
        refused(call(libc::SYS_setpriority, [libc::PRIO_USER.into(), 0, 0, 0]));
        refused(call(libc::SYS_prlimit64, [0, libc::RLIMIT_NOFILE.into(), 1, 0]));
        refused(call(libc::SYS_prlimit64, [1, libc::RLIMIT_NOFILE.into(), 0, 0]));
        assert_eq!(call(libc::SYS_prlimit64, [0, libc::RLIMIT_NOFILE.into(), 0, 0]).unwrap(), 0);
        assert_eq!(call(libc::SYS_prctl, [libc::PR_SET_THP_DISABLE.into(), 1, 0, 0]).unwrap(), 0);
        assert_eq!(call(libc::SYS_openat2, [0; 4]).unwrap_err().raw_os_error(), Some(libc::ENOSYS));
    });
}

#[test]
#[rustfmt::skip]
fn what_is_not_in_the_list_is_refused() {
    const REFUSED: &[c_long] = &[
        libc::SYS_execve, libc::SYS_execveat, libc::SYS_ptrace, libc::SYS_process_vm_readv, libc::SYS_process_vm_writev,
        libc::SYS_process_madvise, libc::SYS_pidfd_getfd, libc::SYS_pidfd_send_signal, libc::SYS_kcmp,
        libc::SYS_kexec_load, libc::SYS_init_module, libc::SYS_finit_module, libc::SYS_delete_module, libc::SYS_reboot,
        libc::SYS_bpf, libc::SYS_perf_event_open, libc::SYS_userfaultfd, libc::SYS_io_uring_setup, libc::SYS_io_uring_enter,
        libc::SYS_io_uring_register, libc::SYS_io_setup, libc::SYS_memfd_create, libc::SYS_memfd_secret,
        libc::SYS_mount, libc::SYS_umount2, libc::SYS_pivot_root, libc::SYS_chroot, libc::SYS_setns, libc::SYS_unshare,
        libc::SYS_fsopen, libc::SYS_open_tree, libc::SYS_move_mount, libc::SYS_open_by_handle_at, libc::SYS_name_to_handle_at,
        libc::SYS_keyctl, libc::SYS_add_key, libc::SYS_request_key, libc::SYS_seccomp, libc::SYS_landlock_create_ruleset,
        libc::SYS_setuid, libc::SYS_setgid, libc::SYS_setresuid, libc::SYS_setgroups, libc::SYS_capset, libc::SYS_personality,
        libc::SYS_mknodat, libc::SYS_mkdirat, libc::SYS_unlinkat, libc::SYS_renameat2, libc::SYS_linkat, libc::SYS_symlinkat,
        libc::SYS_fchmodat, libc::SYS_fchownat, libc::SYS_utimensat, libc::SYS_truncate, libc::SYS_setxattr, libc::SYS_pwrite64,
        libc::SYS_inotify_init1, libc::SYS_fanotify_init, libc::SYS_quotactl, libc::SYS_swapon, libc::SYS_sethostname,
        libc::SYS_clock_settime, libc::SYS_settimeofday, libc::SYS_syslog, libc::SYS_listen, libc::SYS_setrlimit,
        libc::SYS_shmget, libc::SYS_msgget, libc::SYS_semget, libc::SYS_mq_open, libc::SYS_rt_sigqueueinfo, libc::SYS_splice,
        libc::SYS_mlockall, libc::SYS_sched_setscheduler, libc::SYS_ioprio_set, libc::SYS_timer_create, libc::SYS_wait4,
    ];
    inside(&[], |_| {
        let answers = REFUSED.iter().map(|&number| (number, call(number, [0; 4]).err().and_then(|error| error.raw_os_error())));
        let others: Vec<_> = answers.filter(|(_, error)| *error != Some(libc::EPERM)).collect();
        assert!(others.is_empty(), "system calls and what they answered: {others:?}");
    });
}

#[test]
fn a_server_with_tokio_runs() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    inside(&["/etc".as_ref()], move |_| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async move {
            let address = listener.local_addr().unwrap();
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let server = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.write_all(b"jello").await.unwrap();
            });
            let mut stream = tokio::net::TcpStream::connect(("localhost", address.port())).await.unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            assert_eq!(text, "jello");
            server.await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        });
    });
}
