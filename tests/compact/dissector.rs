//! `dist/wireshark/nullbeat.lua` under Debian's tshark: captures made of the compact format's vectors, of damaged ones,
//! and of Heartbeat's messages, the captured ones among them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nullbeat::wire::compact::{LINE_MAX, to_line};

use super::pair::vectors;

/// Link types of captures: IP without anything below; the first one for private use.
const RAW_IP: u32 = 101;
const USER_0: u32 = 147;

/// Version 2.4 of the format of libpcap, in the byte order of whoever reads it as big-endian.
fn pcap(link_type: u32, packets: &[Vec<u8>]) -> Vec<u8> {
    let word = |number: u32| number.to_be_bytes().to_vec();
    let mut file = [word(0xa1b2_c3d4), vec![0, 2, 0, 4], word(0), word(0), word(65_535), word(link_type)].concat();
    for (packet, second) in packets.iter().zip(1..) {
        let len = word(u32::try_from(packet.len()).expect("small"));
        file.extend([word(second), word(0), len.clone(), len, packet.clone()].concat());
    }
    file
}

/// A datagram to port 694 from one address to another.
fn datagram(payload: &[u8]) -> Vec<u8> {
    let size = |extra: usize| u16::try_from(payload.len() + extra).expect("small").to_be_bytes();
    let [total_high, total_low] = size(28);
    let mut packet = vec![0x45, 0, total_high, total_low, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    packet.extend([0x80, 0x00, 0x02, 0xb6]);
    packet.extend(size(8));
    packet.extend([0, 0]);
    packet.extend(payload);
    packet
}

/// A file that is removed at the end.
struct Capture(PathBuf);

impl Capture {
    fn new(name: &str, link_type: u32, packets: &[Vec<u8>]) -> Self {
        let path = std::env::temp_dir().join(format!("nullbeat-{}-{name}.pcap", std::process::id()));
        fs::write(&path, pcap(link_type, packets)).expect("a temporary file");
        Self(path)
    }

    /// These fields of each packet.
    fn fields(&self, fields: &[&str]) -> Vec<Vec<String>> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist/wireshark/nullbeat.lua");
        let mut command = Command::new("tshark");
        command.arg("-X").arg(format!("lua_script:{}", script.display())).arg("-r").arg(&self.0);
        command.args(["-n", "-T", "fields"]);
        for field in fields {
            command.args(["-e", field]);
        }
        let output = command.output().expect("tshark, of the Debian package of that name");
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !complaints.contains("nullbeat.lua"), "{complaints}");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

const EXPERT: &str = "_ws.expert.message";

fn on_line(frame: &[u8]) -> Vec<u8> {
    let mut out = vec![0; LINE_MAX];
    let len = to_line(frame, &mut out).expect("a frame");
    out.truncate(len);
    out
}

#[test]
fn every_vector_is_dissected_on_a_serial_line_and_in_datagrams() {
    let vectors = vectors();
    let lines: Vec<Vec<u8>> = vectors.iter().map(|vector| on_line(&vector.frame)).collect();
    let datagrams: Vec<Vec<u8>> = vectors.iter().map(|vector| datagram(&vector.frame)).collect();
    for capture in [Capture::new("line", USER_0, &lines), Capture::new("udp", RAW_IP, &datagrams)] {
        let rows = capture.fields(&["_ws.col.Info", EXPERT, "nullbeat.kind", "nullbeat.crc"]);
        assert_eq!(rows.len(), vectors.len());
        for (row, vector) in rows.iter().zip(&vectors) {
            let kind = vector.frame[0] & 0x1f;
            let word = match vector.name {
                "num_ping_nodes" => "ipfail",
                name => name.split(" of ").next().and_then(|name| name.split(" with ").next()).unwrap_or(name),
            };
            let [high, low] = vector.frame.last_chunk().copied().expect("two bytes");
            assert!(row[0] == word || row[0].starts_with(&format!("{word} ")), "{row:?}, {}", vector.name);
            assert_eq!(
                row[1..],
                [String::new(), kind.to_string(), format!("0x{high:02x}{low:02x}")],
                "{}",
                vector.name
            );
        }
    }
}

#[test]
fn what_a_beat_says_is_shown() {
    let vectors = vectors();
    let frame = |name: &str| {
        let vector = vectors.iter().find(|vector| vector.name == name).expect("a vector");
        on_line(&vector.frame)
    };
    let packets = [frame("beat with a change"), frame("everything"), frame("answer")];
    let capture = Capture::new("beat", USER_0, &packets);
    let rows = capture.fields(&[
        "_ws.col.Info",
        "nullbeat.seq_low",
        "nullbeat.status",
        "nullbeat.hears_partner",
        "nullbeat.held",
        "nullbeat.owner_line",
        "nullbeat.group",
        "nullbeat.age",
        "nullbeat.cause",
        "nullbeat.news",
        "nullbeat.name",
    ]);
    assert_eq!(rows[0][..6], ["beat active, groups 0 to 7", "0x0001", "2", "1", "0", "2"]);
    assert!(rows[0][6].starts_with("0 running, claimed,1 stopped,2 running, claimed,"), "{:?}", rows[0]);
    assert!(rows[1][6].contains("2 starting, claimed"), "{:?}", rows[1]);
    assert!(rows[1][7].starts_with("0 12 ms,1 never heard,"), "{:?}", rows[1]);
    assert_eq!(rows[1][8..10], ["2", "5|1|start"]);
    assert_eq!(rows[2].last().map(String::as_str), Some("beta"));
}

#[test]
fn damage_and_noise_are_shown_as_such() {
    let vectors = vectors();
    let mut packets = Vec::new();
    for vector in &vectors {
        let mut frame = vector.frame.clone();
        let middle = frame.len() / 2;
        frame[middle] ^= 0x10;
        packets.push(on_line(&frame));
        packets.push(on_line(&vector.frame[..vector.frame.len() - 3]));
    }
    let damaged = packets.len();
    packets.push(b"login: ".to_vec());
    packets.push(vec![0, 0]);
    packets.push(vec![0, 9, 1, 1, 0]);
    let rows = Capture::new("damage", USER_0, &packets).fields(&["_ws.col.Info", EXPERT]);
    assert_eq!(rows.len(), packets.len());
    for row in &rows[..damaged] {
        assert!(matches!(row[1].as_str(), "Wrong checksum" | "No frame"), "{row:?}");
    }
    assert!(rows[damaged..].iter().all(|row| row[..] == ["garbage", "Garbage"]), "{:?}", &rows[damaged..]);
}

/// The packets of the fuzzers' corpus: two captured ones, and one of each type in each form, as nullbeat writes them.
#[test]
fn messages_of_heartbeat_are_dissected_in_both_forms() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/packet");
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory).expect("the corpus").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let packets: Vec<Vec<u8>> = files.iter().map(|path| fs::read(path).expect("a packet")).collect();
    let datagrams: Vec<Vec<u8>> = packets.iter().map(|packet| datagram(packet)).collect();
    let fields = ["heartbeat.format", "heartbeat.t", "heartbeat.src", "heartbeat.signature", EXPERT];
    let rows = Capture::new("heartbeat", RAW_IP, &datagrams).fields(&fields);
    assert_eq!(rows.len(), packets.len());
    for ((row, path), packet) in rows.iter().zip(&files).zip(&packets) {
        let format = if packet.starts_with(b"###") { "netstring" } else { "classic" };
        assert_eq!((row[0].as_str(), row[4].as_str()), (format, ""), "{}", path.display());
        assert!(!row[1].is_empty() && !row[2].is_empty(), "{}: {row:?}", path.display());
    }
    let captured = files.iter().position(|path| path.ends_with("captured-crc")).expect("there");
    assert_eq!(rows[captured][1..4], ["NS_ackmsg", "beta", "1 7f1eceb2,1 25b6e592"]);
    // On a serial line, and cut off.
    let serial: Vec<Vec<u8>> = packets.iter().filter(|packet| packet.starts_with(b">>>")).cloned().collect();
    let rows = Capture::new("serial", USER_0, &serial).fields(&fields);
    assert!(rows.len() > 10 && rows.iter().all(|row| row[0] == "classic" && row[4].is_empty()), "{rows:?}");
    let cut: Vec<Vec<u8>> = packets.iter().map(|packet| datagram(&packet[..packet.len() / 2])).collect();
    let rows = Capture::new("cut", RAW_IP, &cut).fields(&["heartbeat.format", EXPERT]);
    assert!(rows.iter().all(|row| row[1] == "Not a message"), "{rows:?}");
}
