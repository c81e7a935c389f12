//! XML as a tree that comes out as it went in, but for what XML does not count: comments, quotes, and the like.

use alloc::{
    borrow::ToOwned,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};

use quick_xml::{
    Reader,
    escape::{escape, partial_escape, unescape},
    events::{BytesStart, Event},
};

use super::DescriptorError;

/// An element.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Element {
    /// As it is written, with its prefix.
    pub(super) name: String,
    /// What the prefix stands for; empty where it stands for nothing.
    pub(super) namespace: Arc<str>,
    /// As they are written, those that declare namespaces among them.
    pub(super) attributes: Vec<(String, String)>,
    pub(super) children: Vec<Node>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Node {
    Element(Element),
    Text(String),
}

impl Element {
    pub(super) fn new(name: &str, namespace: &str) -> Self {
        Self { name: name.to_owned(), namespace: namespace.into(), attributes: Vec::new(), children: Vec::new() }
    }

    /// Another one of the same namespace, with the same prefix.
    pub(super) fn beside(&self, local: &str) -> Self {
        let prefix = self.name.split_once(':').map_or_else(String::new, |(prefix, _)| prefix.to_owned() + ":");
        Self::new(&(prefix + local), &self.namespace)
    }

    pub(super) fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.attributes.push((name.to_owned(), value.to_string()));
        self
    }

    pub(super) fn text(mut self, text: impl Into<String>) -> Self {
        self.children.push(Node::Text(text.into()));
        self
    }

    pub(super) fn child(mut self, child: Self) -> Self {
        self.children.push(Node::Element(child));
        self
    }

    /// The name without its prefix.
    pub(super) fn local(&self) -> &str {
        local(&self.name)
    }

    pub(super) fn is(&self, namespace: &str, local: &str) -> bool {
        &*self.namespace == namespace && self.local() == local
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn set_attribute(&mut self, name: &str, value: String) {
        match self.attributes.iter_mut().find(|(found, _)| found == name) {
            Some((_, old)) => *old = value,
            None => self.attributes.push((name.to_owned(), value)),
        }
    }

    pub(super) fn elements(&self) -> impl DoubleEndedIterator<Item = &Self> {
        self.children.iter().filter_map(|node| if let Node::Element(element) = node { Some(element) } else { None })
    }

    pub(super) fn elements_mut(&mut self) -> impl Iterator<Item = &mut Self> {
        self.children.iter_mut().filter_map(|node| if let Node::Element(element) = node { Some(element) } else { None })
    }

    /// The text that stands directly in it, without white space around.
    pub(super) fn content(&self) -> String {
        let texts =
            self.children.iter().filter_map(|node| if let Node::Text(text) = node { Some(&**text) } else { None });
        texts.collect::<String>().trim().to_owned()
    }

    pub(super) fn remove(&mut self, unwanted: impl Fn(&Self) -> bool) {
        self.children.retain(|node| !matches!(node, Node::Element(element) if unwanted(element)));
    }

    /// Inserts a child before the first of these names, or at the end.
    pub(super) fn insert_before(&mut self, names: &[&str], child: Self) {
        let behind = |node: &Node| matches!(node, Node::Element(element) if names.contains(&element.local()));
        let at = self.children.iter().position(behind).unwrap_or(self.children.len());
        self.children.insert(at, Node::Element(child));
    }

    /// The element and all below it, in the order of the document.
    pub(super) fn walk<'a>(&'a self, visit: &mut impl FnMut(&'a Self)) {
        visit(self);
        self.elements().for_each(|element| element.walk(visit));
    }

    /// A document with this root.
    pub(super) fn document(&self) -> String {
        let mut out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned();
        self.write(&mut out);
        out.push('\n');
        out
    }

    fn write(&self, out: &mut String) {
        out.push('<');
        out.push_str(&self.name);
        for (name, value) in &self.attributes {
            out.push(' ');
            out.push_str(name);
            out.push_str("=\"");
            // White space other than blanks would come back as blanks.
            let escaped = escape(value.as_str());
            out.push_str(&escaped.replace('\t', "&#9;").replace('\n', "&#10;").replace('\r', "&#13;"));
            out.push('"');
        }
        // Empty text would not come back.
        if self.children.iter().all(|node| matches!(node, Node::Text(text) if text.is_empty())) {
            out.push_str("/>");
            return;
        }
        out.push('>');
        for node in &self.children {
            match node {
                Node::Element(element) => element.write(out),
                Node::Text(text) => out.push_str(&partial_escape(text.as_str()).replace('\r', "&#13;")),
            }
        }
        out.push_str("</");
        out.push_str(&self.name);
        out.push('>');
    }
}

/// What was read.
pub(super) struct Parsed {
    pub(super) root: Element,
    /// Where the text of the last child of the root begins and ends, in bytes of the document.
    pub(super) last: Option<(usize, usize)>,
}

/// Reads a document.
pub(super) fn parse(xml: &[u8]) -> Result<Parsed, DescriptorError> {
    if xml.len() > MAX_LEN {
        return Err(DescriptorError::TooLong);
    }
    let text = core::str::from_utf8(xml).map_err(|e| DescriptorError::Utf8 { at: e.valid_up_to() })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let skipped = xml.len() - text.len();
    let mut reader = Reader::from_str(text);
    reader.config_mut().check_end_names = true;
    let mut open: Vec<Open> = Vec::new();
    let mut root: Option<Element> = None;
    let (mut elements, mut last) = (0, None);
    loop {
        let at = skipped + reader.buffer_position() as usize;
        let event = reader.read_event();
        let after = skipped + reader.buffer_position() as usize;
        let event = event.map_err(|e| DescriptorError::Xml { at: after, what: e.to_string() })?;
        let bad = |what: &str| DescriptorError::Xml { at, what: what.to_owned() };
        match event {
            Event::Start(start) | Event::Empty(start) if root.is_some() && open.is_empty() => {
                return Err(bad(&alloc::format!("<{}> stands behind the end", start.name().as_ref())));
            }
            Event::Start(start) => {
                elements += 1;
                if open.len() >= MAX_DEPTH || elements > MAX_ELEMENTS {
                    return Err(DescriptorError::TooMuch { at });
                }
                let (element, declared) = element(&start, &open, at)?;
                open.push(Open { element, declared, begins: after });
            }
            Event::Empty(start) => {
                elements += 1;
                if open.len() >= MAX_DEPTH || elements > MAX_ELEMENTS {
                    return Err(DescriptorError::TooMuch { at });
                }
                let (element, _) = element(&start, &open, at)?;
                if open.len() == 1 {
                    last = None;
                }
                match open.last_mut() {
                    Some(parent) => parent.element.children.push(Node::Element(element)),
                    None => root = Some(element),
                }
            }
            Event::End(_) => {
                // The reader has checked that it fits.
                let Some(Open { element, begins, .. }) = open.pop() else { return Err(bad("an end without a start")) };
                if open.len() == 1 {
                    last = Some((begins, at));
                }
                match open.last_mut() {
                    Some(parent) => parent.element.children.push(Node::Element(element)),
                    None => root = Some(element),
                }
            }
            Event::Text(piece) => add_text(&mut open, &piece.xml10_content()).map_err(bad)?,
            Event::CData(piece) => add_text(&mut open, &piece.xml10_content()).map_err(bad)?,
            Event::GeneralRef(name) => {
                // The five of XML itself, and characters by number.
                let raw = alloc::format!("&{};", name.clone().into_inner());
                let meant = unescape(&raw).map_err(|_| DescriptorError::Entity { at })?;
                add_text(&mut open, &meant).map_err(bad)?;
            }
            Event::DocType(_) => return Err(DescriptorError::DocType { at }),
            Event::Decl(_) | Event::Comment(_) | Event::PI(_) => {}
            Event::Eof => break,
        }
    }
    match root {
        Some(root) if open.is_empty() => Ok(Parsed { root, last }),
        _ => Err(DescriptorError::Xml { at: xml.len(), what: "the document ends in the middle".to_owned() }),
    }
}

/// Prefixes that an element declares, and what for.
type Declared = Vec<(String, Arc<str>)>;

/// An element whose end is still to come.
struct Open {
    element: Element,
    declared: Declared,
    /// Where its content begins.
    begins: usize,
}

fn element(start: &BytesStart<'_>, open: &[Open], at: usize) -> Result<(Element, Declared), DescriptorError> {
    let bad = |what: String| DescriptorError::Xml { at, what };
    let mut attributes = Vec::new();
    let mut declared = Declared::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|e| bad(e.to_string()))?;
        if attributes.len() >= MAX_ATTRIBUTES {
            return Err(DescriptorError::TooMuch { at });
        }
        let name = attribute.key.as_ref().to_owned();
        if !is_name(&name) {
            return Err(bad("an attribute has no proper name".to_owned()));
        }
        let value = unescape(&attribute.value).map_err(|_| DescriptorError::Entity { at })?.into_owned();
        if name == "xmlns" {
            declared.push((String::new(), value.as_str().into()));
        } else if let Some(prefix) = name.strip_prefix("xmlns:") {
            declared.push((prefix.to_owned(), value.as_str().into()));
        }
        attributes.push((name, value));
    }
    let name = start.name().as_ref().to_owned();
    if !is_name(&name) {
        return Err(bad("an element has no proper name".to_owned()));
    }
    let resolve = |name: &str, default: bool| {
        let prefix = name.split_once(':').map_or("", |(prefix, _)| prefix);
        if prefix.is_empty() && !default || prefix == "xml" || prefix == "xmlns" {
            return Ok(Arc::from(""));
        }
        let outer = open.iter().rev().flat_map(|open| &open.declared);
        let found = declared.iter().chain(outer).find(|(declared, _)| declared == prefix);
        match found {
            Some((_, namespace)) => Ok(Arc::clone(namespace)),
            None if prefix.is_empty() => Ok(Arc::from("")),
            None => Err(bad(alloc::format!("the prefix of {name} is not declared"))),
        }
    };
    let namespace = resolve(&name, true)?;
    attributes.iter().try_for_each(|(name, _)| resolve(name, false).map(drop))?;
    Ok((Element { name, namespace, attributes, children: Vec::new() }, declared))
}

/// Names as XML has them (its §2.3), near enough: the reader takes more, and what is written must be read again.
fn is_name(name: &str) -> bool {
    let begins = |c: char| c.is_ascii_alphabetic() || matches!(c, '_' | ':') || !c.is_ascii() && c.is_alphanumeric();
    let goes_on = |c: char| begins(c) || c.is_ascii_digit() || matches!(c, '-' | '.' | '\u{b7}');
    name.starts_with(begins) && name.chars().all(goes_on)
}

fn add_text(open: &mut [Open], text: &str) -> Result<(), &'static str> {
    match open.last_mut() {
        Some(open) => match open.element.children.last_mut() {
            Some(Node::Text(before)) => before.push_str(text),
            _ => open.element.children.push(Node::Text(text.to_owned())),
        },
        None if text.trim().is_empty() => {}
        None => return Err("text stands outside of the document"),
    }
    Ok(())
}

pub(super) fn local(name: &str) -> &str {
    name.split_once(':').map_or(name, |(_, local)| local)
}

/// Longest document that is read, in bytes.
pub(super) const MAX_LEN: usize = 4 << 20;
/// Elements that stand in one another.
pub(super) const MAX_DEPTH: usize = 32;
/// Elements in all.
pub(super) const MAX_ELEMENTS: usize = 65_536;
/// Attributes of one element.
pub(super) const MAX_ATTRIBUTES: usize = 64;
