//! Imports: rooms depend on lower rooms only, and no two modules on each other except a parent and its children.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Findings, before_unit_tests, product_without_tests, without_comments};

/// A layer, and its rooms from the highest to the lowest. A room imports from those to its right.
const ROOMS: [(&str, &[&str]); 3] = [
    (
        "sctp/src",
        &[
            "fuzzing",
            "endpoint",
            "association",
            "send",
            "recv",
            "reset",
            "path",
            "config",
            "out_of_the_blue",
            "event",
            "error",
            "lower_layer",
            "stats",
            "cookie",
            "memory",
            "wire",
            "send_policy",
            "message",
            "serial",
            "time",
            "interval_set",
            "unread_queue",
            "cost_counter",
            "valid",
            "drops",
        ],
    ),
    (
        "dcep/src",
        &[
            "fuzzing",
            "channels",
            "channel",
            "stream",
            "control",
            "open",
            "answered",
            "options",
            "ids",
            "config",
            "queue",
            "event",
            "error",
            "ready_state",
            "stats",
            "message",
            "ppid",
        ],
    ),
    (
        "src",
        &[
            "signalling",
            "endpoint",
            "handle",
            "channel",
            "association",
            "error",
            "identity_store",
            "webrtc",
            "socket",
            "net",
            "config",
            "memory",
            "counters",
            "waiters",
            "log",
        ],
    ),
];

/// Modules that import from a higher room, and why.
const UPWARD: [(&str, &str, &str); 0] = [];

/// Modules that import from each other, and why.
const CIRCLES: [(&[&str], &str); 0] = [];

/// The command, a crate of its own inside of the layer `src`.
const COMMAND: &str = "src/bin/narrowboat";

/// A module: the path from the root of its crate. The root itself is the empty path.
type Module = Vec<String>;

/// The modules of a crate, and those that each of them imports from.
struct Graph(BTreeMap<Module, BTreeSet<Module>>);

impl Graph {
    fn of(layer: &str) -> Self {
        let sources: BTreeMap<Module, String> = product_without_tests()
            .into_iter()
            .filter_map(|source| {
                let path = source.name.strip_prefix(layer)?.strip_prefix('/')?.strip_suffix(".rs")?;
                let mut module: Module = path.split('/').map(str::to_owned).collect();
                if ["mod", "lib", "main"].contains(&module.last()?.as_str()) {
                    module.pop();
                }
                let is_product = module.first().is_none_or(|first| first != "bin");
                is_product.then(|| (module, without_comments(&before_unit_tests(&source.text))))
            })
            .collect();
        let modules: BTreeSet<Module> = sources.keys().cloned().collect();
        // An import of a name that the root exports again is an import from where the name is defined.
        let mut exports = BTreeMap::new();
        for path in paths(&sources[&Vec::new()]) {
            if let Some(module) = longest(&modules, &path) {
                exports.insert(path.last().expect("a name").clone(), module);
            }
        }
        let imports = |module: &Module, code: &str| {
            let mut found = BTreeSet::new();
            for path in paths(code) {
                if let Some(absolute) = absolute(module, &path, &modules) {
                    let exported = exports.get(&absolute[0]).filter(|_| !modules.contains(&absolute[..1]));
                    found.extend(exported.cloned().or_else(|| longest(&modules, &absolute)));
                }
            }
            found.remove(module);
            found
        };
        let mut graph: BTreeMap<Module, BTreeSet<Module>> =
            sources.iter().map(|(module, code)| (module.clone(), imports(module, code))).collect();
        graph.remove(&Vec::new());
        Self(graph)
    }

    fn rooms(&self) -> BTreeSet<&str> {
        self.0.keys().map(|module| module[0].as_str()).collect()
    }

    /// Groups of modules, each of which reaches all others of its group. An import between a module and one inside of
    /// it does not count.
    fn circles(&self) -> BTreeSet<BTreeSet<&Module>> {
        let reached: BTreeMap<&Module, BTreeSet<&Module>> =
            self.0.keys().map(|module| (module, self.reached_from(module))).collect();
        let circle = |module| {
            let is_mutual = |other: &&Module| reached.get(other).is_some_and(|back| back.contains(module));
            reached[module].iter().copied().filter(is_mutual).collect::<BTreeSet<_>>()
        };
        self.0.keys().map(circle).filter(|circle| !circle.is_empty()).collect()
    }

    fn reached_from(&self, module: &Module) -> BTreeSet<&Module> {
        let mut reached = BTreeSet::new();
        let mut left = vec![module];
        while let Some(from) = left.pop() {
            let is_neighbour = |to: &&Module| !to.starts_with(from) && !from.starts_with(to.as_slice());
            let new = self.0.get(from).into_iter().flatten().filter(is_neighbour).filter(|to| !reached.contains(to));
            let new: Vec<&Module> = new.collect();
            reached.extend(&new);
            left.extend(new);
        }
        reached
    }
}

#[test]
fn rooms_import_from_lower_rooms_only() {
    let mut findings = Findings::default();
    let mut used = BTreeSet::new();
    for (layer, order) in ROOMS {
        let graph = Graph::of(layer);
        let height = |room: &str| order.iter().position(|known| *known == room);
        for room in graph.rooms() {
            findings.check(height(room).is_some(), format!("{layer}/{room} has no place among the rooms"));
        }
        for room in order {
            findings.check(graph.rooms().contains(room), format!("{layer}/{room} does not exist"));
        }
        for (module, imports) in &graph.0 {
            let name = format!("{layer}/{}", module.join("/"));
            for room in imports.iter().filter_map(|import| import.first()).collect::<BTreeSet<_>>() {
                let exception = UPWARD.iter().position(|(file, to, _)| (*file, *to) == (&name, room));
                let is_allowed = height(&module[0]) <= height(room);
                used.extend(exception.filter(|_| !is_allowed));
                findings.check(
                    is_allowed || exception.is_some(),
                    format!("{name} imports from `{room}`, which is above it"),
                );
            }
        }
    }
    for (at, (file, room, _)) in UPWARD.iter().enumerate() {
        findings.check(used.contains(&at), format!("{file} does not import from `{room}`: take it off the list"));
    }
    findings.are_none();
}

#[test]
fn no_two_modules_import_from_each_other() {
    let mut findings = Findings::default();
    let mut used = BTreeSet::new();
    for layer in ROOMS.map(|(layer, _)| layer).into_iter().chain([COMMAND]) {
        let graph = Graph::of(layer);
        for circle in graph.circles() {
            let names: Vec<String> = circle.iter().map(|module| format!("{layer}/{}", module.join("/"))).collect();
            let exception =
                CIRCLES.iter().position(|(listed, _)| names.iter().all(|name| listed.contains(&name.as_str())));
            used.extend(exception);
            findings.check(exception.is_some(), format!("{names:?} import from each other"));
        }
    }
    for (at, (circle, _)) in CIRCLES.iter().enumerate() {
        findings.check(used.contains(&at), format!("{circle:?} is not a circle: take it off the list"));
    }
    findings.are_none();
}

/// All paths that this code imports or writes out, such as `super::chunk::Chunk`.
fn paths(code: &str) -> Vec<Module> {
    let mut found = Vec::new();
    for statement in code.split(';') {
        let Some(at) = statement.rfind("use ").filter(|at| is_statement(&statement[..*at])) else { continue };
        expand(&[], &statement[at + 4..], &mut found);
    }
    for start in ["crate::", "super::"] {
        for (at, _) in code.match_indices(start) {
            if !code[..at].ends_with([':', '{']) {
                let path: String =
                    code[at..].chars().take_while(|c| c.is_alphanumeric() || "_:".contains(*c)).collect();
                expand(&[], path.trim_end_matches(':'), &mut found);
            }
        }
    }
    found
}

/// True if a `use` after this text begins a statement.
fn is_statement(before: &str) -> bool {
    let line = before.rsplit('\n').next().unwrap_or_default().trim();
    line.is_empty() || line == "pub" || line == "pub(crate)" || line == "pub(super)"
}

/// Adds the paths of an import: `a::{b, c::d}` has two.
fn expand(prefix: &[String], tree: &str, found: &mut Vec<Module>) {
    let tree = tree.split(" as ").next().unwrap_or_default().trim();
    let Some(open) = tree.find('{') else {
        let path: Module = prefix.iter().cloned().chain(segments(tree)).filter(|part| part != "self").collect();
        found.extend((!tree.is_empty() && !path.is_empty()).then_some(path));
        return;
    };
    let prefix: Module = prefix.iter().cloned().chain(segments(&tree[..open])).collect();
    let inside = tree[open + 1..].trim_end().strip_suffix('}').unwrap_or_default();
    let (mut depth, mut start) = (0_u32, 0);
    for (at, letter) in inside.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(&prefix, &inside[start..at], found);
                start = at + 1;
            }
            _ => {}
        }
    }
    expand(&prefix, &inside[start..], found);
}

fn segments(path: &str) -> impl Iterator<Item = String> {
    path.split("::").map(|part| part.trim().to_owned()).filter(|part| !part.is_empty())
}

/// The path from the root of the crate; `None` for another crate's.
fn absolute(module: &Module, path: &Module, modules: &BTreeSet<Module>) -> Option<Module> {
    let ups = path.iter().take_while(|part| *part == "super").count();
    let absolute: Module = match path[0].as_str() {
        "crate" => path[1..].to_vec(),
        "super" => module.get(..module.len().checked_sub(ups)?)?.iter().chain(&path[ups..]).cloned().collect(),
        _ => {
            let inside: Module = module.iter().chain(path).cloned().collect();
            modules.contains(&inside[..module.len() + 1]).then_some(inside)?
        }
    };
    (!absolute.is_empty()).then_some(absolute)
}

/// The innermost module of a path; `None` if it is the root.
fn longest(modules: &BTreeSet<Module>, path: &Module) -> Option<Module> {
    (1..=path.len()).rev().map(|len| path[..len].to_vec()).find(|module| modules.contains(module))
}

#[test]
fn imports_are_found_wherever_they_are_written() {
    let code = "use std::fmt;\npub(crate) use a::{b, c::{D, self}};\nfn f() -> crate::e::F {\n    super::g::h()\n}\nuse super::i as j;\n";
    let found: Vec<String> = paths(code).into_iter().map(|path| path.join("::")).collect();
    assert_eq!(found, ["std::fmt", "a::b", "a::c::D", "a::c", "super::i", "crate::e::F", "super::g::h", "super::i"]);
}

#[test]
fn a_circle_is_found_and_a_parent_with_its_child_is_not_one() {
    let module = |name: &str| -> Module { name.split('/').map(str::to_owned).collect() };
    let edges = [("a", "a/x"), ("a/x", "a"), ("b", "c"), ("c", "d"), ("d", "b"), ("a", "b")];
    let mut graph = Graph(BTreeMap::new());
    for (from, to) in edges {
        graph.0.entry(module(from)).or_default().insert(module(to));
    }
    let circle: BTreeSet<Module> = ["b", "c", "d"].map(module).into();
    assert_eq!(graph.circles(), BTreeSet::from([circle.iter().collect()]));
}
