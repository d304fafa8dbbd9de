//! A board and its supervisor in one process, and the bytes that go between them.

use nullbeat::core::ids::{Generation, KeyNumber, Seq, Uuid};
use nullbeat::core::settings::Identity;
use nullbeat::wire::compact::{
    BODY_MAX, LINE_MAX, LineStream, Link, Order, Received, Secrets, Setup, Telling, to_line,
};

use crate::responder::{Provision, Responder};

const TS: u32 = 1_700_000_000;
const SECRET: &[u8] = b"the key of the example";

fn board() -> Link {
    let mut secrets = Secrets::new(KeyNumber(1));
    assert!(secrets.add(KeyNumber(1), SECRET));
    Link::new(Setup {
        secrets,
        identity: Identity { uuid: Uuid([1; 16]), generation: Generation(1) },
        name: "alpha".try_into().expect("short"),
        partner: "supervisor".try_into().expect("short"),
        seed: [1; 32],
        order: Order::Kept,
    })
}

fn print(who: &str, line: &[u8]) {
    let hex: String = line.iter().map(|byte| format!("{byte:02x}")).collect();
    println!("{who:>10} {:3} bytes  {hex}", line.len());
}

/// Prints a call, its answer, three beats with their answers, and what comes of silence.
pub(crate) fn show() {
    let provision = Provision { secret: SECRET, number: 1, uuid: [2; 16], generation: 1, seed: [2; 32] };
    let mut responder = Responder::new("supervisor", "alpha", &provision).expect("provisioned");
    let (mut board, mut stream) = (board(), LineStream::new());
    let telling = Telling { dead_ms: 300, ts: TS, ..Telling::default() };
    for beat in 0..4u32 {
        let mut frame = [0; BODY_MAX];
        let seq = Seq(u64::from(beat) + 1);
        let len = match beat {
            0 => board.call(seq, TS, &mut frame).expect("a key"),
            1 => board.tell_all(seq, &telling, "", &mut frame).expect("the session is open"),
            _ => board.beat(seq, &telling, &mut frame).expect("the session is open"),
        };
        let (mut line, mut answer) = ([0; LINE_MAX], [0; LINE_MAX]);
        let len = to_line(&frame[..len], &mut line).expect("it fits");
        print("board", &line[..len]);
        let mut answered = 0;
        for byte in &line[..len] {
            answered += responder.byte(100 * beat, *byte, &mut answer);
        }
        print("supervisor", &answer[..answered]);
        let mut bytes = &answer[..answered];
        while let Some(frame) = stream.next(&mut bytes) {
            let mut reply = [0; BODY_MAX];
            match board.receive(frame, seq, TS, &mut reply) {
                Ok(Received::Opened) => println!("{:>10} the session is open", ""),
                Ok(Received::Message(message)) => println!("{:>10} {:?} of {}", "", message.seq, message.src),
                other => println!("{:>10} {other:?}", ""),
            }
        }
    }
    for later in [500, 700] {
        println!("at {later} ms the board is silent: {}", responder.is_board_silent(later));
    }
}
