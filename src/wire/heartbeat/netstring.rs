//! The `###` form: each field a netstring, signature behind the end marker (spec/wire.md section 3).

use super::fields::{Field, Kind};
use super::reject::{Reject, offset};

pub(super) const START: &[u8; 4] = b"###\n";
pub(super) const END: &[u8; 4] = b"%%%\n";

/// Digits of a length: packets are smaller than 10^6 bytes.
const LENGTH_DIGITS_MAX: usize = 6;

/// A packet cut along its outer lengths. Nothing inside the fields has been looked at.
pub(super) struct Packet<'a> {
    /// The fields; they begin at byte 4.
    pub(super) fields: Fields<'a>,
    /// What the signature covers.
    pub(super) signed: &'a [u8],
    /// `K DIGEST`.
    pub(super) signature: &'a [u8],
}

/// The fields of a packet without signature. Bytes behind its end are ignored.
pub(super) fn split_unsigned(bytes: &[u8]) -> Result<Fields<'_>, Reject> {
    let peeler = to_end(bytes)?;
    Ok(Fields(Peeler { bytes: bytes.get(..peeler.at).unwrap_or_default(), at: START.len() }))
}

/// The fields of a nested message: it has no signature, and nothing stands behind its end.
pub(super) fn split_nested(bytes: &[u8]) -> Result<Fields<'_>, Reject> {
    if !bytes.starts_with(START) {
        return Err(Reject::BadMarker);
    }
    let peeler = to_end(bytes)?;
    if peeler.rest() != END {
        return Err(Reject::BadFraming { offset: offset(peeler.at) });
    }
    Ok(Fields(Peeler { bytes: bytes.get(..peeler.at).unwrap_or_default(), at: START.len() }))
}

/// Goes to the end marker.
fn to_end(bytes: &[u8]) -> Result<Peeler<'_>, Reject> {
    let mut peeler = Peeler { bytes, at: START.len() };
    while !peeler.is_at_end_marker() {
        peeler.next()?;
    }
    Ok(peeler)
}

/// Finds the signature. Bytes behind it are ignored.
pub(super) fn split(bytes: &[u8]) -> Result<Packet<'_>, Reject> {
    let mut peeler = to_end(bytes)?;
    let fields = bytes.get(..peeler.at).unwrap_or_default();
    peeler.at += END.len();
    let signed = bytes.get(..peeler.at).unwrap_or_default();
    if peeler.at >= bytes.len() {
        return Err(Reject::Unsigned);
    }
    let signature = peeler.next()?;
    Ok(Packet { fields: Fields(Peeler { bytes: fields, at: START.len() }), signed, signature })
}

/// Takes netstrings off the front.
struct Peeler<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Peeler<'a> {
    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn is_at_end_marker(&self) -> bool {
        self.rest().starts_with(END)
    }

    /// The value of the next netstring. 3.0.6 skips anything between the digits and the colon; we do not.
    fn next(&mut self) -> Result<&'a [u8], Reject> {
        let broken = Reject::BadFraming { offset: offset(self.at) };
        let rest = self.rest();
        let digits = rest.iter().take(LENGTH_DIGITS_MAX + 1).take_while(|byte| byte.is_ascii_digit()).count();
        let is_padded = digits > 1 && rest.first() == Some(&b'0');
        if digits == 0 || digits > LENGTH_DIGITS_MAX || is_padded || rest.get(digits) != Some(&b':') {
            return Err(broken);
        }
        let length = rest.iter().take(digits).fold(0, |length, digit| length * 10 + u32::from(digit - b'0'));
        let length = usize::try_from(length).map_err(|_| broken)?;
        let (value, behind) = rest.get(digits + 1..).and_then(|rest| rest.split_at_checked(length)).ok_or(broken)?;
        if behind.first() != Some(&b',') {
            return Err(broken);
        }
        self.at += digits + 1 + length + 1;
        Ok(value)
    }
}

/// The fields of an authentic packet.
pub(super) struct Fields<'a>(Peeler<'a>);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Reject>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.rest().is_empty() {
            return None;
        }
        let at = self.0.at;
        let field = self.0.next().and_then(|value| parse(value).ok_or(Reject::Malformed { offset: offset(at) }));
        if field.is_err() {
            self.0.at = self.0.bytes.len();
        }
        Some(field)
    }
}

/// `(T)name=value`.
fn parse(text: &[u8]) -> Option<Field<'_>> {
    let [b'(', digit, b')', rest @ ..] = text else { return None };
    let kind = match digit {
        b'0' => Kind::Text,
        b'1' => Kind::Binary,
        // Whether it was to be compressed says nothing to who reads it.
        b'2' | b'5' => Kind::Struct,
        b'4' => Kind::Packed,
        b'3' => Kind::List,
        _ => return None,
    };
    Field::split(kind, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(packet: &[u8]) -> Result<usize, Reject> {
        split(packet)?.fields.try_fold(0, |count, field| field.map(|_| count + 1))
    }

    #[test]
    fn seen_example_is_cut_right() {
        // spec/wire.md 3.1, with `src=alpha,…` closed after src.
        let mut packet = Vec::new();
        packet.extend_from_slice(b"###\n14:(0)t=smalltest,10:(0)info=hi,10:(1)bin=\x00\x01\x02,");
        packet.extend_from_slice(b"20:(3)lst=3:abc,4:defg,,33:(2)sub=###\n6:(0)x=1,6:(0)y=2,%%%\n,12:(0)src=alpha,");
        packet.extend_from_slice(b"%%%\n10:1 36e99e15,");
        let cut = split(&packet).unwrap();
        assert_eq!(cut.signature, b"1 36e99e15");
        assert_eq!(cut.signed.len(), packet.len() - b"10:1 36e99e15,".len());
        let names: Vec<_> = cut.fields.map(|field| field.unwrap().name).collect();
        assert_eq!(names, [&b"t"[..], b"info", b"bin", b"lst", b"sub", b"src"]);
    }

    #[test]
    fn lengths_are_strict() {
        assert_eq!(fields(b"###\n7:(0)t=xy,%%%\n3:1 a,"), Ok(1));
        assert_eq!(fields(b"###\n7:(0)t=xy,%%%\n3:1 a,more"), Ok(1));
        for bad in [
            &b"###\n07:(0)t=xy,%%%\n3:1 a,"[..],
            b"###\n7 :(0)t=xy,%%%\n3:1 a,",
            b"###\n8:(0)t=xy,%%%\n3:1 a,",
            b"###\n6:(0)t=xy,%%%\n3:1 a,",
            b"###\n7:(0)t=xy;%%%\n3:1 a,",
            b"###\n:(0)t=xy,%%%\n3:1 a,",
            b"###\n-7:(0)t=xy,%%%\n3:1 a,",
            b"###\n9999999:(0)t=xy,%%%\n3:1 a,",
            b"###\n999999:(0)t=xy,%%%\n3:1 a,",
            b"###\n7:(0)t=xy,%%%",
            b"###\n",
        ] {
            assert!(matches!(fields(bad), Err(Reject::BadFraming { .. })), "{}", bad.escape_ascii());
        }
        assert_eq!(fields(b"###\n7:(0)t=xy,%%%\n"), Err(Reject::Unsigned));
        assert_eq!(fields(b"###\n7:(0)t=xy,%%%\n3:1 a;"), Err(Reject::BadFraming { offset: 18 }));
    }

    #[test]
    fn fields_that_kill_the_original_are_reported() {
        for bad in ["5:abcde", "6:(x)a=b", "6:(0(a=b", "6:(6)a=b", "6:(9)a=b", "5:(0)ab", "6:(0)=ab", "0:", "2:(0"] {
            let packet = format!("###\n7:(0)t=xy,{bad},%%%\n3:1 a,");
            assert_eq!(fields(packet.as_bytes()), Err(Reject::Malformed { offset: 14 }), "{bad}");
        }
        assert_eq!(fields(b"###\n7:(0)a=\x00b,%%%\n3:1 a,"), Err(Reject::Malformed { offset: 4 }));
        // Empty values, and values with `=`, newline or the end marker inside, are fine.
        assert_eq!(fields(b"###\n5:(0)a=,10:(0)a=b=c\nd,10:(0)b=%%%\nx,%%%\n3:1 a,"), Ok(3));
    }
}
