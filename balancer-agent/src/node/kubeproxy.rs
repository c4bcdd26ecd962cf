//! Whether kube-proxy runs here, and how.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

/// What was seen of kube-proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KubeProxy {
    /// It answers, and names its mode.
    Mode(String),
    /// Its IPVS device exists, but it does not answer.
    IpvsLeftovers,
    /// Nothing was seen.
    NotSeen,
}

/// Asks the metrics port of kube-proxy, which is 127.0.0.1:10249 unless configured otherwise.
pub fn probe() -> KubeProxy {
    match ask(SocketAddr::from(([127, 0, 0, 1], 10249))) {
        Ok(Some(mode)) => KubeProxy::Mode(mode),
        _ if Path::new("/sys/class/net/kube-ipvs0").exists() => KubeProxy::IpvsLeftovers,
        _ => KubeProxy::NotSeen,
    }
}

fn ask(address: SocketAddr) -> io::Result<Option<String>> {
    let patience = Duration::from_millis(300);
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    stream.write_all(b"GET /proxyMode HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(4096).read_to_string(&mut answer)?;
    Ok(mode(&answer))
}

/// What an agent of balancer answers, where its metrics are at this port.
pub const BALANCER: &str = "balancer";

/// The body is the bare mode, such as `iptables`; anything else came from another program.
fn mode(answer: &str) -> Option<String> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let body = body.trim();
    let plain =
        !body.is_empty() && body.len() <= 32 && body.chars().all(|c| c.is_ascii_lowercase());
    let plain = plain && body != BALANCER;
    (head.split(' ').nth(1) == Some("200") && plain).then(|| body.to_owned())
}

#[cfg(test)]
mod tests {
    use std::{io::Write, net::TcpListener, thread};

    use super::*;

    #[test]
    fn only_an_answer_of_kube_proxy_counts() {
        for (answer, want) in [
            ("HTTP/1.0 200 OK\r\nContent-Length: 8\r\n\r\niptables", Some("iptables")),
            ("HTTP/1.0 200 OK\r\n\r\nnftables\n", Some("nftables")),
            ("HTTP/1.0 200 OK\r\n\r\nbalancer", None),
            ("HTTP/1.0 404 Not Found\r\n\r\niptables", None),
            ("HTTP/1.0 200 OK\r\n\r\n<html>hello</html>", None),
            ("SSH-2.0-OpenSSH\r\n", None),
        ] {
            assert_eq!(mode(answer).as_deref(), want, "{answer}");
        }
    }

    #[test]
    fn the_mode_is_asked_over_tcp() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut request = [0; 256];
            let length = stream.read(&mut request).expect("a request");
            stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nipvs").expect("an answer");
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        assert_eq!(ask(address).expect("an answer"), Some("ipvs".to_owned()));
        let request = server.join().expect("a served request");
        assert!(request.starts_with("GET /proxyMode "), "{request}");
    }
}
