//! `smtpd_restriction_classes` while lists are read: named lists that other lists and tables refer to.
//!
//! **Implements** the search for circles: a class that is being read must not be named again.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::file::Located;
use crate::policy::restriction::Restriction;

/// The classes of one scope.
pub struct Classes<'a> {
    /// What the class of this name is written as.
    find: &'a dyn Fn(&str) -> Option<Located>,
    /// Those that are being read, the outermost first.
    open: RefCell<Vec<String>>,
    /// Those that were read; none when something in them is wrong, which is said where they are written.
    known: RefCell<BTreeMap<String, Option<Arc<[Restriction]>>>>,
    circles: RefCell<Vec<String>>,
}

/// What came of a name.
pub enum Class {
    /// There is no such class.
    Unknown,
    /// It was read before.
    Known(Option<Arc<[Restriction]>>),
    /// It names itself, by others perhaps.
    Circle,
    /// It has to be read now; [`Classes::close`] ends that.
    Open(Located),
}

impl<'a> Classes<'a> {
    /// The classes that `find` knows.
    pub fn new(find: &'a dyn Fn(&str) -> Option<Located>) -> Self {
        Self {
            find,
            open: RefCell::default(),
            known: RefCell::default(),
            circles: RefCell::default(),
        }
    }

    /// What the class of this name is written as.
    pub fn definition(&self, name: &str) -> Option<Located> {
        (self.find)(name)
    }

    /// Begins to read a class whatever is known of it.
    pub fn enter(&self, name: &str) {
        self.open.borrow_mut().push(name.to_owned());
    }

    /// The circles that were met, each as a way.
    pub fn circles(&self) -> Vec<String> {
        self.circles.borrow().clone()
    }

    /// Begins to read a class.
    pub fn open(&self, name: &str) -> Class {
        if let Some(known) = self.known.borrow().get(name) {
            return Class::Known(known.clone());
        }
        let mut open = self.open.borrow_mut();
        if open.iter().any(|outer| outer == name) {
            let way: Vec<&str> = open.iter().map(String::as_str).chain([name]).collect();
            let way = way.join(" -> ");
            let mut circles = self.circles.borrow_mut();
            if !circles.contains(&way) {
                circles.push(way);
            }
            return Class::Circle;
        }
        match (self.find)(name) {
            Some(located) => {
                open.push(name.to_owned());
                Class::Open(located)
            }
            None => Class::Unknown,
        }
    }

    /// Ends it.
    pub fn close(&self, name: &str, list: Option<Arc<[Restriction]>>) {
        self.open.borrow_mut().pop();
        self.known.borrow_mut().insert(name.to_owned(), list);
    }
}
