//! What the two sides agree on at first: the version, what the filter may change, which events it is told.
//!
//! **Implements** OPTNEG, `SMFIF_*`, `SMFIP_*` and the lists of macros of `SMFIF_SETSYMLIST`.

use super::fields::{Fields, put};
use super::packet::CodecError;

/// The version spoken here.
pub const VERSION: u32 = 6;
/// The oldest version that a filter may answer with.
pub const VERSION_MIN: u32 = 2;

/// What a filter may change: `SMFIF_*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Actions(pub u32);

impl Actions {
    /// `SMFIF_ADDHDRS`: add and insert header fields.
    pub const ADD_HEADERS: Self = Self(0x01);
    /// `SMFIF_CHGBODY`: replace the body.
    pub const CHANGE_BODY: Self = Self(0x02);
    /// `SMFIF_ADDRCPT`: add recipients.
    pub const ADD_RECIPIENTS: Self = Self(0x04);
    /// `SMFIF_DELRCPT`: take recipients away.
    pub const DELETE_RECIPIENTS: Self = Self(0x08);
    /// `SMFIF_CHGHDRS`: change and delete header fields.
    pub const CHANGE_HEADERS: Self = Self(0x10);
    /// `SMFIF_QUARANTINE`: put the message on hold.
    pub const QUARANTINE: Self = Self(0x20);
    /// `SMFIF_CHGFROM`: change the reverse-path.
    pub const CHANGE_FROM: Self = Self(0x40);
    /// `SMFIF_ADDRCPT_PAR`: add recipients with parameters.
    pub const ADD_RECIPIENTS_WITH_PARAMETERS: Self = Self(0x80);
    /// `SMFIF_SETSYMLIST`: name the macros it wants.
    pub const SET_MACROS: Self = Self(0x100);

    /// All that there are.
    pub const ALL: Self = Self(0x1ff);

    /// Whether these are among them.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Which events are left out and which are not answered: `SMFIP_*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Steps(pub u32);

impl Steps {
    /// `SMFIP_NOCONNECT`.
    pub const NO_CONNECT: Self = Self(0x01);
    /// `SMFIP_NOHELO`.
    pub const NO_HELLO: Self = Self(0x02);
    /// `SMFIP_NOMAIL`.
    pub const NO_MAIL: Self = Self(0x04);
    /// `SMFIP_NORCPT`.
    pub const NO_RECIPIENT: Self = Self(0x08);
    /// `SMFIP_NOBODY`.
    pub const NO_BODY: Self = Self(0x10);
    /// `SMFIP_NOHDRS`.
    pub const NO_HEADERS: Self = Self(0x20);
    /// `SMFIP_NOEOH`.
    pub const NO_END_OF_HEADER: Self = Self(0x40);
    /// `SMFIP_NR_HDR`: header fields are not answered.
    pub const SILENT_HEADERS: Self = Self(0x80);
    /// `SMFIP_NOUNKNOWN`.
    pub const NO_UNKNOWN: Self = Self(0x100);
    /// `SMFIP_NODATA`.
    pub const NO_DATA: Self = Self(0x200);
    /// `SMFIP_SKIP`: the filter may say SKIP.
    pub const SKIP: Self = Self(0x400);
    /// `SMFIP_RCPT_REJ`: the filter is told of recipients that are refused.
    pub const REFUSED_RECIPIENTS: Self = Self(0x800);
    /// `SMFIP_NR_CONN`.
    pub const SILENT_CONNECT: Self = Self(0x1000);
    /// `SMFIP_NR_HELO`.
    pub const SILENT_HELLO: Self = Self(0x2000);
    /// `SMFIP_NR_MAIL`.
    pub const SILENT_MAIL: Self = Self(0x4000);
    /// `SMFIP_NR_RCPT`.
    pub const SILENT_RECIPIENT: Self = Self(0x8000);
    /// `SMFIP_NR_DATA`.
    pub const SILENT_DATA: Self = Self(0x1_0000);
    /// `SMFIP_NR_UNKN`.
    pub const SILENT_UNKNOWN: Self = Self(0x2_0000);
    /// `SMFIP_NR_EOH`.
    pub const SILENT_END_OF_HEADER: Self = Self(0x4_0000);
    /// `SMFIP_NR_BODY`.
    pub const SILENT_BODY: Self = Self(0x8_0000);
    /// `SMFIP_HDR_LEADSPC`: values of header fields keep the space behind the colon.
    pub const LEADING_SPACE: Self = Self(0x10_0000);

    /// What a server of this version offers: versions before 3 do not know `NO_UNKNOWN`, before 4 no DATA,
    /// before 6 none of what came with it.
    pub const fn offered(version: u32) -> Self {
        Self(match version {
            0..=2 => 0x7f,
            3 => 0x17f,
            4 | 5 => 0x37f,
            _ => 0x1f_ffff,
        })
    }

    /// Whether these are among them.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// An event whose macros a filter can name: `SMFIM_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MacroStage {
    /// `SMFIM_CONNECT`.
    Connect,
    /// `SMFIM_HELO`.
    Hello,
    /// `SMFIM_ENVFROM`.
    Mail,
    /// `SMFIM_ENVRCPT`.
    Recipient,
    /// `SMFIM_DATA`.
    Data,
    /// `SMFIM_EOM`.
    EndOfMessage,
    /// `SMFIM_EOH`.
    EndOfHeader,
}

impl MacroStage {
    /// Every stage, by its number in the protocol.
    pub const ALL: [Self; 7] = [
        Self::Connect,
        Self::Hello,
        Self::Mail,
        Self::Recipient,
        Self::Data,
        Self::EndOfMessage,
        Self::EndOfHeader,
    ];

    fn number(self) -> u32 {
        let position = Self::ALL.iter().position(|stage| *stage == self);
        u32::try_from(position.unwrap_or_default()).unwrap_or_default()
    }

    fn of_number(number: u32) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }
}

/// OPTNEG, from either side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Negotiation {
    /// The version.
    pub version: u32,
    /// What the filter may, or will, change.
    pub actions: Actions,
    /// Which events there may be, or are, none of.
    pub steps: Steps,
    /// The macros that the filter wants at a stage, names without braces only when of one letter.
    pub macros: Vec<(MacroStage, Vec<String>)>,
}

impl Negotiation {
    pub(super) fn read(mut fields: Fields<'_>) -> Result<Self, CodecError> {
        let mut negotiation = Self {
            version: fields.number()?,
            actions: Actions(fields.number()?),
            steps: Steps(fields.number()?),
            macros: Vec::new(),
        };
        while !fields.is_empty() {
            let number = fields.number()?;
            let names = fields.text()?;
            // A stage that a later version adds is no reason to give up.
            if let Some(stage) = MacroStage::of_number(number) {
                let names = names.split([' ', ',']).filter(|name| !name.is_empty());
                negotiation.macros.push((stage, names.map(str::to_owned).collect()));
            }
        }
        Ok(negotiation)
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for number in [self.version, self.actions.0, self.steps.0] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        for (stage, names) in &self.macros {
            out.extend_from_slice(&stage.number().to_be_bytes());
            put(&mut out, names.join(" ").as_bytes());
        }
        out
    }
}
