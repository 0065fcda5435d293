//! Which HTTP a client speaks, before it is read: by what TLS agreed on, or by how the first request begins.

use bytes::BytesMut;
use tokio::io::{self, AsyncRead, AsyncReadExt};

/// The version of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// HTTP/1.1 or 1.0.
    One,
    /// HTTP/2.
    Two,
}

/// What TLS may agree on, the best first.
pub(crate) const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The preface of HTTP/2 begins so (RFC 9113, 3.4), and no request of HTTP/1 does.
const PREFACE: &[u8] = b"PRI ";

/// By what TLS agreed on; a client that proposes nothing speaks HTTP/1.1.
pub(super) fn agreed(protocol: Option<&[u8]>) -> Version {
    match protocol == Some(ALPN[0]) {
        true => Version::Two,
        false => Version::One,
    }
}

/// By the first bytes, which are put into `begun`: as many as it took to tell. A client that leaves before it has said
/// anything speaks no version.
pub(super) async fn sniffed(
    client: &mut (impl AsyncRead + Unpin),
    begun: &mut BytesMut,
) -> io::Result<Option<Version>> {
    begun.reserve(PREFACE.len());
    loop {
        let room = PREFACE.len() - begun.len();
        let is_over = (&mut *client).take(room as u64).read_buf(begun).await? == 0;
        match begun.as_ref() {
            [] => return Ok(None),
            PREFACE => return Ok(Some(Version::Two)),
            part if PREFACE.starts_with(part) && !is_over => {}
            _ => return Ok(Some(Version::One)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sniff(pieces: &[&[u8]]) -> Option<(Version, BytesMut)> {
        let mut begun = BytesMut::new();
        let version = sniffed(&mut Pieces(pieces.to_vec()), &mut begun).await.unwrap();
        version.map(|version| (version, begun))
    }

    /// Gives one piece at a time.
    struct Pieces<'a>(Vec<&'a [u8]>);

    impl AsyncRead for Pieces<'_> {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            _cx: &mut std::task::Context<'_>,
            buf: &mut io::ReadBuf<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            if let Some(piece) = self.0.first_mut() {
                let fits = buf.remaining().min(piece.len());
                let (now, later) = piece.split_at(fits);
                buf.put_slice(now);
                *piece = later;
                if later.is_empty() {
                    self.0.remove(0);
                }
            }
            std::task::Poll::Ready(Ok(()))
        }
    }

    #[track_caller]
    fn check(pieces: &[&[u8]], expected: Option<(Version, &[u8])>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let sniffed = runtime.block_on(sniff(pieces));
        assert_eq!(sniffed.as_ref().map(|(version, begun)| (*version, &begun[..])), expected);
    }

    #[test]
    fn the_preface_tells() {
        check(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"], Some((Version::Two, b"PRI ")));
        check(&[b"P", b"R", b"I", b" * HTTP/2.0"], Some((Version::Two, b"PRI ")));
        check(&[b"POST / HTTP/1.1"], Some((Version::One, b"POST")));
        check(&[b"P", b"UT /"], Some((Version::One, b"PUT ")));
        check(&[b"P"], Some((Version::One, b"P")));
        check(&[b"G"], Some((Version::One, b"G")));
        check(&[b"\x16\x03"], Some((Version::One, b"\x16\x03")));
        check(&[], None);
    }

    #[test]
    fn tls_tells() {
        assert_eq!(agreed(Some(b"h2")), Version::Two);
        assert_eq!(agreed(Some(b"http/1.1")), Version::One);
        assert_eq!(agreed(None), Version::One);
    }
}
