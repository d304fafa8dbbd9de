//! The responder on a chip without an operating system. The vendor's start-up code, in C or Rust, sets up clocks and the
//! UART, calls [`responder_main`], and has the five functions below; so nothing here depends on the chip.

#![expect(unsafe_code, reason = "names that another language's linker knows")]

use nullbeat::wire::compact::LINE_MAX;

use crate::responder::{Provision, Responder};

unsafe extern "C" {
    /// The next byte from the line, or less than zero when there is none.
    safe fn uart_get() -> i32;
    /// Sends a byte, waiting for room.
    safe fn uart_put(byte: u8);
    /// A clock, milliseconds; may wrap.
    safe fn clock_ms() -> u32;
    /// A byte of what is kept for this board: 32 of the key, 16 of the uuid, 4 of the generation (most significant first,
    /// raised already), then 32 random ones.
    safe fn provisioned(place: u32) -> u8;
    /// The board has been silent for the dead time that it had announced, or is heard again.
    safe fn board_is_silent(is_silent: bool);
}

fn bytes<const N: usize>(from: u32) -> [u8; N] {
    let mut place = from;
    core::array::from_fn(|_| {
        place += 1;
        provisioned(place - 1)
    })
}

/// Never returns; it does when nothing was provisioned.
#[unsafe(no_mangle)]
extern "C" fn responder_main() {
    let secret: [u8; 32] = bytes(0);
    let generation = u32::from_be_bytes(bytes(48));
    let provision = Provision { secret: &secret, number: 1, uuid: bytes(32), generation, seed: bytes(52) };
    let Some(mut responder) = Responder::new("supervisor", "alpha", &provision) else { return };
    let mut out = [0; LINE_MAX];
    let mut was_silent = false;
    loop {
        if let Ok(byte) = u8::try_from(uart_get()) {
            let len = responder.byte(clock_ms(), byte, &mut out);
            out.iter().take(len).for_each(|byte| uart_put(*byte));
        }
        let is_silent = responder.is_board_silent(clock_ms());
        if is_silent != was_silent {
            board_is_silent(is_silent);
            was_silent = is_silent;
        }
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // The chip's own watchdog ends it.
    loop {
        core::hint::spin_loop();
    }
}
