//! DNS messages (RFC 1035, 2782, 3596): a question as bytes, and of an answer the addresses, services and how long they hold.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What is asked of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    A,
    Aaaa,
    Srv,
}

/// What a name server said.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub records: Vec<Record>,
    /// It did not fit; over TCP it does.
    pub is_cut: bool,
    /// RFC 1035's response code; 0 is good, 3 means that there is no such name.
    pub code: u8,
}

/// One record.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub name: String,
    pub ttl_s: u32,
    pub data: Data,
}

/// What it says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Data {
    Address(IpAddr),
    Service(Service),
    /// Another name; of no interest but for how long it holds.
    Alias,
}

/// Where a service is (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Service {
    /// Lower ones come first.
    pub priority: u16,
    /// Share among those of the same priority.
    pub weight: u16,
    pub port: u16,
    pub target: String,
}

/// Why an answer is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotAnswer {
    /// It is to another question: of somebody who guesses, or late.
    NotOurs,
    Malformed,
}

/// Bytes of a name on the wire, and of one of its labels.
const NAME_BYTES_MAX: usize = 255;
const LABEL_BYTES_MAX: usize = 63;
/// Bytes of an answer over UDP that we take: they pass most networks in one piece (DNS flag day 2020).
pub(super) const UDP_BYTES_MAX: u16 = 1232;

const CLASS_IN: u16 = 1;
const TYPE_A: u16 = 1;
const TYPE_CNAME: u16 = 5;
const TYPE_AAAA: u16 = 28;
const TYPE_SRV: u16 = 33;
const TYPE_OPT: u16 = 41;

const IS_ANSWER: u16 = 0x8000;
const IS_CUT: u16 = 0x0200;
const WANTS_RECURSION: u16 = 0x0100;
const CODE: u16 = 0x000f;

impl Kind {
    fn number(self) -> u16 {
        match self {
            Kind::A => TYPE_A,
            Kind::Aaaa => TYPE_AAAA,
            Kind::Srv => TYPE_SRV,
        }
    }
}

/// The question's bytes; `None` of a name that is none.
pub(super) fn question(id: u16, name: &str, kind: Kind) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(64);
    // One question, and one further record: how much we take.
    for number in [id, WANTS_RECURSION, 1, 0, 0, 1] {
        bytes.extend(number.to_be_bytes());
    }
    let name_at = bytes.len();
    for label in name.strip_suffix('.').unwrap_or(name).split('.') {
        if label.is_empty() || label.len() > LABEL_BYTES_MAX {
            return None;
        }
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    if bytes.len() - name_at > NAME_BYTES_MAX {
        return None;
    }
    for number in [kind.number(), CLASS_IN] {
        bytes.extend(number.to_be_bytes());
    }
    bytes.push(0);
    for number in [TYPE_OPT, UDP_BYTES_MAX, 0, 0, 0] {
        bytes.extend(number.to_be_bytes());
    }
    Some(bytes)
}

/// Reads the answer to the question with this id, name and kind.
pub(super) fn answer(bytes: &[u8], id: u16, name: &str, kind: Kind) -> Result<Answer, NotAnswer> {
    let mut at = Reader { bytes, at: 0 };
    let header: [u16; 6] = at.numbers().ok_or(NotAnswer::NotOurs)?;
    let [its_id, flags, questions, answers, authorities, additional] = header;
    if its_id != id || flags & IS_ANSWER == 0 || questions != 1 {
        return Err(NotAnswer::NotOurs);
    }
    let asked = at.name().ok_or(NotAnswer::Malformed)?;
    let [its_kind, _] = at.numbers().ok_or(NotAnswer::Malformed)?;
    if !asked.eq_ignore_ascii_case(name.strip_suffix('.').unwrap_or(name)) || its_kind != kind.number() {
        return Err(NotAnswer::NotOurs);
    }
    let mut answer = Answer { records: Vec::new(), is_cut: flags & IS_CUT != 0, code: (flags & CODE) as u8 };
    for number in 0..u32::from(answers) + u32::from(authorities) + u32::from(additional) {
        let is_authority = (u32::from(answers)..u32::from(answers) + u32::from(authorities)).contains(&number);
        match at.record() {
            Some(record) => answer.records.extend(record.filter(|_| !is_authority)),
            // What was cut off is asked for again.
            None if answer.is_cut => break,
            None => return Err(NotAnswer::Malformed),
        }
    }
    Ok(answer)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn numbers<const N: usize>(&mut self) -> Option<[u16; N]> {
        let mut numbers = [0; N];
        for number in &mut numbers {
            *number = u16::from_be_bytes(self.take(2)?.try_into().ok()?);
        }
        Some(numbers)
    }

    /// A name, which may end in one that stands before it.
    fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        let (mut at, mut is_elsewhere) = (self.at, false);
        // Each jump goes back, so that none goes round.
        let mut before = self.at;
        loop {
            let length = *self.bytes.get(at)?;
            match length {
                0 => {
                    if !is_elsewhere {
                        self.at = at + 1;
                    }
                    return Some(name);
                }
                1..=63 => {
                    let label = self.bytes.get(at + 1..at + 1 + usize::from(length))?;
                    if !name.is_empty() {
                        name.push('.');
                    }
                    // A dot within a label would make another name of it.
                    let is_plain = label.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'.');
                    name.push_str(std::str::from_utf8(label).ok().filter(|_| is_plain)?);
                    if name.len() > NAME_BYTES_MAX {
                        return None;
                    }
                    at += 1 + usize::from(length);
                }
                0xc0.. => {
                    let to = (usize::from(length & 0x3f) << 8) | usize::from(*self.bytes.get(at + 1)?);
                    if !is_elsewhere {
                        self.at = at + 2;
                    }
                    if to >= before {
                        return None;
                    }
                    (at, before, is_elsewhere) = (to, to, true);
                }
                64..0xc0 => return None,
            }
        }
    }

    /// The next record; `Some(None)` where it is of no interest.
    fn record(&mut self) -> Option<Option<Record>> {
        let name = self.name()?;
        let [kind, class, ttl_high, ttl_low, length] = self.numbers()?;
        let ends = self.at.checked_add(usize::from(length)).filter(|ends| *ends <= self.bytes.len())?;
        let data = match (kind, class) {
            (TYPE_A, CLASS_IN) => {
                let octets: [u8; 4] = self.take(4)?.try_into().ok()?;
                Some(Data::Address(Ipv4Addr::from(octets).into()))
            }
            (TYPE_AAAA, CLASS_IN) => {
                let octets: [u8; 16] = self.take(16)?.try_into().ok()?;
                Some(Data::Address(Ipv6Addr::from(octets).into()))
            }
            (TYPE_SRV, CLASS_IN) => {
                let [priority, weight, port] = self.numbers()?;
                Some(Data::Service(Service { priority, weight, port, target: self.name()? }))
            }
            (TYPE_CNAME, CLASS_IN) => Some(Data::Alias),
            _ => None,
        };
        if self.at > ends {
            return None;
        }
        self.at = ends;
        let ttl_s = (u32::from(ttl_high) << 16) | u32::from(ttl_low);
        Some(data.map(|data| Record { name, ttl_s, data }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAME: &str = "_openai._tcp.pool.example";

    /// An answer with these records, each a name, a type, a TTL and its data, as they stand on the wire.
    fn wire(flags: u16, records: &[(&[u8], u16, u32, &[u8])]) -> Vec<u8> {
        let mut bytes = question(7, NAME, Kind::Srv).unwrap();
        bytes.truncate(bytes.len() - 11);
        bytes[2..4].copy_from_slice(&(IS_ANSWER | flags).to_be_bytes());
        bytes[6..8].copy_from_slice(&(records.len() as u16).to_be_bytes());
        bytes[10..12].copy_from_slice(&[0, 0]);
        for (name, kind, ttl_s, data) in records {
            bytes.extend(*name);
            bytes.extend(kind.to_be_bytes());
            bytes.extend(CLASS_IN.to_be_bytes());
            bytes.extend(ttl_s.to_be_bytes());
            bytes.extend((data.len() as u16).to_be_bytes());
            bytes.extend(*data);
        }
        bytes
    }

    /// The name that was asked for.
    const ASKED: &[u8] = &[0xc0, 12];

    #[test]
    fn a_question_is_as_name_servers_take_it() {
        let bytes = question(0x1234, "a.bc.", Kind::Aaaa).unwrap();
        let expected = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01\x01a\x02bc\x00\x00\x1c\x00\x01\
                         \x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00";
        assert_eq!(bytes, expected);
        assert_eq!(question(1, "a..b", Kind::A), None);
        assert_eq!(question(1, &"a".repeat(64), Kind::A), None);
        assert_eq!(question(1, &"abc.".repeat(64), Kind::A), None);
    }

    #[test]
    fn services_and_their_addresses_are_read() {
        // `gpu` before the name that was asked for, from its third label on.
        let service = b"\x00\x0a\x00\x3c\x1f\x90\x03gpu\xc0\x19";
        let bytes = wire(
            0,
            &[
                (ASKED, TYPE_SRV, 30, service),
                (b"\x03gpu\xc0\x19", TYPE_A, 20, &[10, 0, 0, 1]),
                (b"\x03gpu\xc0\x19", 16, 5, b"\x04text"),
            ],
        );
        let answer = answer(&bytes, 7, NAME, Kind::Srv).unwrap();
        let target = "gpu.pool.example".to_owned();
        let service = Service { priority: 10, weight: 60, port: 8080, target: target.clone() };
        let address = Data::Address(Ipv4Addr::new(10, 0, 0, 1).into());
        assert_eq!(
            answer.records,
            [
                Record { name: NAME.to_owned(), ttl_s: 30, data: Data::Service(service) },
                Record { name: target, ttl_s: 20, data: address },
            ]
        );
        assert_eq!((answer.is_cut, answer.code), (false, 0));
    }

    #[test]
    fn what_answers_another_question_is_not_ours() {
        let bytes = wire(3, &[]);
        assert_eq!(answer(&bytes, 7, NAME, Kind::Srv).unwrap().code, 3);
        assert_eq!(answer(&bytes, 7, &NAME.to_uppercase(), Kind::Srv).unwrap().code, 3);
        for (id, name, kind) in [(8, NAME, Kind::Srv), (7, "other.example", Kind::Srv), (7, NAME, Kind::A)] {
            assert_eq!(answer(&bytes, id, name, kind), Err(NotAnswer::NotOurs));
        }
        assert_eq!(answer(&question(7, NAME, Kind::Srv).unwrap(), 7, NAME, Kind::Srv), Err(NotAnswer::NotOurs));
    }

    #[test]
    fn what_was_cut_off_is_read_as_far_as_it_goes() {
        let mut bytes = wire(IS_CUT, &[(ASKED, TYPE_A, 1, &[10, 0, 0, 1]), (ASKED, TYPE_A, 1, &[10, 0, 0, 2])]);
        bytes.truncate(bytes.len() - 3);
        let cut = answer(&bytes, 7, NAME, Kind::Srv).unwrap();
        assert_eq!((cut.records.len(), cut.is_cut), (1, true));
    }

    #[test]
    fn names_that_go_round_or_hide_dots_are_refused() {
        for name in [&[0xc0, 43][..], &[0xc0, 0xff], b"\x01a\xc0\x2b", b"\x03a.b\x00", b"\x40aaaa", b"\x01\xff\x00"] {
            let bytes = wire(0, &[(name, TYPE_A, 1, &[10, 0, 0, 1])]);
            assert_eq!(answer(&bytes, 7, NAME, Kind::Srv), Err(NotAnswer::Malformed), "{name:?}");
        }
        let short = wire(0, &[(ASKED, TYPE_A, 1, &[10, 0, 0])]);
        assert_eq!(answer(&short, 7, NAME, Kind::Srv), Err(NotAnswer::Malformed));
    }

    proptest! {
        #[test]
        fn no_bytes_whatever_break_the_reader(
            more in prop::collection::vec(any::<u8>(), 0..200),
            counts in any::<[u8; 3]>(),
            flags in any::<u16>(),
        ) {
            let mut bytes = wire(flags, &[]);
            for (at, count) in [7, 9, 11].into_iter().zip(counts) {
                bytes[at] = count;
            }
            bytes.extend(more);
            // The result is of no interest; that there is one is.
            let _ = answer(&bytes, 7, NAME, Kind::Srv);
        }
    }
}
