//! One line of a program: a structure of the C library in the machine's own byte order, then the text (spec/api.md 8.1).

/// What `msgtype` says of a line to be logged.
const LINE: i32 = 2;
/// Bytes of the program's tag, padded with zeros.
const ENTITY_LEN: usize = 64;
/// Where it stands: behind six integers.
const ENTITY_AT: usize = 24;
/// C's `long`, on every Linux of the width of a pointer.
const LONG_LEN: usize = size_of::<usize>();
/// Where the text begins.
const TEXT_AT: usize = ENTITY_AT + ENTITY_LEN + LONG_LEN;
/// Bytes of a text that are kept. The programs cut theirs at 511 (`cl_log`) or 1 024 (`ha_logger`).
pub const TEXT_MAX: usize = 2048;
/// The longest body that [`Message::encode`] makes.
pub const ENCODED_MAX: usize = TEXT_AT + TEXT_MAX + 1;
/// The facility that our own lines name; a receiver ignores it.
const DAEMON: i32 = 3 << 3;

/// A line to be logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// As syslog numbers them: 0 (emergency) to 7 (debug).
    pub priority: u8,
    /// The level's word stands before the text.
    pub is_worded: bool,
    /// The program's process, as it says itself.
    pub pid: i32,
    /// Its tag, perhaps not UTF-8.
    pub entity: &'a [u8],
    /// When, seconds since 1970.
    pub seconds: u64,
    /// At most [`TEXT_MAX`] bytes without NUL, perhaps not UTF-8, perhaps with control characters.
    pub text: &'a [u8],
}

impl<'a> Message<'a> {
    /// The line in a frame's body; `None` when it holds none.
    pub fn decode(body: &'a [u8]) -> Option<Self> {
        let text = body.get(TEXT_AT..)?;
        let number = |index: usize| {
            let at = index * 4;
            i32::from_ne_bytes([body[at], body[at + 1], body[at + 2], body[at + 3]])
        };
        if number(0) != LINE {
            return None;
        }
        let priority = u8::try_from(number(2)).ok().filter(|priority| *priority <= 7)?;
        // With its NUL; what is behind that is whatever lay in the client's memory.
        let text = text.get(..usize::try_from(number(3)).ok()?)?;
        let text = until_nul(text);
        let mut seconds = [0; LONG_LEN];
        seconds.copy_from_slice(&body[TEXT_AT - LONG_LEN..TEXT_AT]);
        Some(Self {
            priority,
            is_worded: number(4) != 0,
            pid: number(5),
            entity: until_nul(&body[ENTITY_AT..ENTITY_AT + ENTITY_LEN]),
            seconds: usize::from_ne_bytes(seconds) as u64,
            text: &text[..text.len().min(TEXT_MAX)],
        })
    }

    /// Writes the body of a frame to the front of `room` and returns it; a longer text or tag is cut.
    pub fn encode<'r>(&self, room: &'r mut [u8; ENCODED_MAX]) -> &'r [u8] {
        let text = &self.text[..self.text.len().min(TEXT_MAX)];
        let entity = &self.entity[..self.entity.len().min(ENTITY_LEN - 1)];
        let end = TEXT_AT + text.len() + 1;
        room[..end].fill(0);
        let length = i32::try_from(text.len() + 1).unwrap_or(0);
        let numbers = [LINE, DAEMON, i32::from(self.priority), length, i32::from(self.is_worded), self.pid];
        for (place, number) in room.chunks_exact_mut(4).zip(numbers) {
            place.copy_from_slice(&number.to_ne_bytes());
        }
        room[ENTITY_AT..ENTITY_AT + entity.len()].copy_from_slice(entity);
        let seconds = usize::try_from(self.seconds).unwrap_or(usize::MAX);
        room[TEXT_AT - LONG_LEN..TEXT_AT].copy_from_slice(&seconds.to_ne_bytes());
        room[TEXT_AT..end - 1].copy_from_slice(text);
        &room[..end]
    }
}

/// The bytes before the first NUL, or all.
fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `cl_log` sent for `total message dropped: 0` on x86-64, as captured.
    #[cfg(target_pointer_width = "64")]
    fn captured() -> Vec<u8> {
        let mut body = Vec::new();
        for number in [2_i32, 24, 6, 25, 1, 44] {
            body.extend_from_slice(&number.to_ne_bytes());
        }
        body.extend_from_slice(b"logtest");
        body.resize(88, 0);
        body.extend_from_slice(&0x6b03_b8b1_u64.to_ne_bytes());
        body.extend_from_slice(b"total message dropped: 0\0");
        body
    }

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn line_of_a_client_is_read_and_written_byte_for_byte() {
        let body = captured();
        assert_eq!(body.len(), 121);
        let message = Message::decode(&body).unwrap();
        let expected = Message {
            priority: 6,
            is_worded: true,
            pid: 44,
            entity: b"logtest",
            seconds: 0x6b03_b8b1,
            text: b"total message dropped: 0",
        };
        assert_eq!(message, expected);
        let mut room = [0xee; ENCODED_MAX];
        assert_eq!(message.encode(&mut room), body);
    }

    #[test]
    fn text_ends_at_its_nul_and_is_bounded() {
        let message = Message {
            priority: 7,
            is_worded: false,
            pid: -1,
            entity: &[b'e'; 200],
            seconds: 1,
            text: &[b'x'; TEXT_MAX + 9],
        };
        let mut room = [0; ENCODED_MAX];
        let body = message.encode(&mut room).to_vec();
        let read = Message::decode(&body).unwrap();
        assert_eq!((read.entity.len(), read.text.len()), (ENTITY_LEN - 1, TEXT_MAX));
        // The packaged `logtest` has 4 193 bytes of which only the first few are text.
        let mut long = body.clone();
        long.resize(TEXT_AT + 4193, b'y');
        long[TEXT_AT + 3] = 0;
        long[12..16].copy_from_slice(&4193_i32.to_ne_bytes());
        assert_eq!(Message::decode(&long).unwrap().text, b"xxx");
        long[TEXT_AT + 3] = b'x';
        long[TEXT_AT..].fill(b'z');
        assert_eq!(Message::decode(&long).unwrap().text.len(), TEXT_MAX, "no NUL at all");
    }

    #[test]
    fn what_is_no_line_is_none() {
        let message = Message { priority: 6, is_worded: true, pid: 1, entity: b"e", seconds: 1, text: b"text" };
        let mut room = [0; ENCODED_MAX];
        let body = message.encode(&mut room).to_vec();
        for end in 0..body.len() {
            assert_eq!(Message::decode(&body[..end]), None, "{end}");
        }
        let with = |index: usize, value: i32| {
            let mut body = body.clone();
            body[index * 4..index * 4 + 4].copy_from_slice(&value.to_ne_bytes());
            Message::decode(&body).is_some()
        };
        assert!(with(0, 2) && !with(0, 1) && !with(0, -2), "the kind");
        assert!(with(1, i32::MIN), "the facility is ignored");
        assert!(with(2, 0) && with(2, 7) && !with(2, 8) && !with(2, -1), "the priority");
        assert!(with(3, 5) && with(3, 0) && !with(3, 6) && !with(3, -1) && !with(3, i32::MAX), "the length");
        assert_eq!(Message::decode(&[]), None);
    }
}
