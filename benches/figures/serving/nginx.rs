//! nginx at its best for this: sendfile, a socket a worker, files kept open.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::{Certificate, WORKERS};

pub struct Nginx {
    pub url: String,
    pub tls_url: String,
    child: Child,
}

impl Nginx {
    pub fn start(folder: &Path, certificate: &Certificate) -> Nginx {
        let (address, tls_address) = (free_address(), free_address());
        crate::measure::write(folder, "nginx.pem", certificate.pem.as_bytes());
        crate::measure::write(folder, "nginx.key", certificate.key.as_bytes());
        let root = folder.display();
        let user = if folder.metadata().is_ok_and(|folder| is_root(&folder)) { "user root;" } else { "" };
        let config = format!(
            "{user} worker_processes {WORKERS}; daemon off; pid {root}/nginx.pid; error_log {root}/nginx.log;\n\
             events {{ worker_connections 1024; }}\n\
             http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000;\n\
             open_file_cache max=16 inactive=1h; open_file_cache_valid 1h;\n\
             client_body_temp_path {root}/t1; proxy_temp_path {root}/t2; fastcgi_temp_path {root}/t3;\n\
             uwsgi_temp_path {root}/t4; scgi_temp_path {root}/t5;\n\
             ssl_certificate {root}/nginx.pem; ssl_certificate_key {root}/nginx.key;\n\
             server {{ listen {address} reuseport; listen {tls_address} ssl reuseport; root {root}; }} }}\n"
        );
        crate::measure::write(folder, "nginx.conf", config.as_bytes());
        let mut nginx = Command::new("/usr/sbin/nginx");
        let conf = folder.join("nginx.conf");
        let child = nginx.arg("-c").arg(&conf).stdin(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.unwrap_or_else(|error| panic!("nginx: {error}"));
        let url = |scheme: &str, address: SocketAddr| format!("{scheme}://{address}/vendor.iso");
        let nginx = Nginx { url: url("http", address), tls_url: url("https", tls_address), child };
        nginx.await_listening(address);
        nginx
    }

    /// The workers.
    pub fn pids(&self) -> Vec<u32> {
        let pid = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("it runs");
        children.split_whitespace().map(|pid| pid.parse().expect("a number")).collect()
    }

    #[expect(clippy::disallowed_methods, reason = "a benchmark waits for a real program")]
    fn await_listening(&self, address: SocketAddr) {
        for _ in 0..100 {
            if std::net::TcpStream::connect(address).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("nginx does not listen on {address}");
    }
}

impl Drop for Nginx {
    /// Asked to end, so that its workers end too.
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
        let _ = std::io::stdout().flush();
    }
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("bound")
}

fn is_root(folder: &std::fs::Metadata) -> bool {
    std::os::unix::fs::MetadataExt::uid(folder) == 0
}
