//! The links of the documents: each leads somewhere, and a reader of the README needs two of them at most for any page.
//!
//! Not the web: only links within the project are followed. Invariant: a page without a task in `docs/README.md`, a
//! link to a heading that is gone, or a page that is three links away fails.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

const INDEX: &str = "docs/README.md";
/// So many links from the README.
const FAR: usize = 2;

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let pages = pages();
    let mut faults = Vec::new();
    let mut found = 0;
    for (page, text) in &pages {
        for link in links(text) {
            found += 1;
            let (file, heading) = target(page, &link);
            let exists = Path::new(env!("CARGO_MANIFEST_DIR")).join(&file).exists();
            let has_heading =
                heading.is_empty() || pages.get(&file).is_some_and(|text| slugs(text).contains(&heading));
            if !exists || !has_heading {
                faults.push(format!("{page}: {link}"));
            }
        }
    }
    assert!(found > 300, "only {found} links were found: does the reader of links still work?");
    assert!(faults.is_empty(), "{} of {found} links lead nowhere:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn every_page_is_two_links_from_the_readme() {
    let pages = pages();
    let paths = paths(&pages);
    for (page, path) in &paths {
        println!("{page}: {}", path.join(" → "));
    }
    let far = |page: &&String| paths.get(*page).is_none_or(|path| path.len() > FAR + 1);
    let far: Vec<&String> = pages.keys().filter(|page| page.starts_with("docs/")).filter(far).collect();
    assert!(far.is_empty(), "more than {FAR} links from the README: {far:?}");
}

#[test]
fn the_listed_paths_can_be_followed() {
    let pages = pages();
    let listed: Vec<&str> =
        pages["docs/proof.md"].lines().filter_map(|line| line.split(" | README.md → ").nth(1)).collect();
    assert!(listed.len() > 20, "only {} paths are listed", listed.len());
    for path in listed {
        let mut page = "README.md".to_owned();
        let steps: Vec<&str> = path.trim_end_matches([' ', '|']).split(" → ").collect();
        assert!(steps.len() <= FAR, "{path} is long");
        for step in steps {
            let (file, heading) = step.split_once('#').unwrap_or((step, ""));
            let mut targets = links(&pages[&page]).into_iter().map(|link| target(&page, &link));
            let is_there =
                |(to, part): (String, String)| to == file && (heading.is_empty() || part == heading);
            assert!(targets.any(is_there), "{path}: {page} has no link to {step}");
            page = file.to_owned();
        }
    }
}

#[test]
fn every_page_has_a_task_in_the_index() {
    let pages = pages();
    assert!(links(&pages["README.md"]).contains(&INDEX.to_owned()), "the README links to {INDEX}");
    let listed: BTreeSet<String> = links(&pages[INDEX]).iter().map(|link| target(INDEX, link).0).collect();
    let is_one = |page: &&String| page.starts_with("docs/") && page.matches('/').count() == 1;
    let missing: Vec<&String> =
        pages.keys().filter(is_one).filter(|page| *page != INDEX && !listed.contains(*page)).collect();
    assert!(missing.is_empty(), "no task leads to {missing:?}");
}

#[test]
fn what_is_wrong_with_a_link_is_found() {
    let text =
        "# A b\n## `c_d`: e\n## A b\n[x](a.md#b)\n  ```text\n[y](z)\n  ```\n![p](q.png) and `[n](m)`\n";
    assert_eq!(links(text), ["a.md#b", "q.png"]);
    assert_eq!(slugs(text), ["a-b", "c_d-e", "a-b-1"].map(str::to_owned).into());
    assert_eq!(target("docs/x.md", "../README.md#y"), ("README.md".to_owned(), "y".to_owned()));
    assert_eq!(target("docs/x.md", "#y"), ("docs/x.md".to_owned(), "y".to_owned()));
    let pages = [("README.md", "[a](b.md)"), ("b.md", "[c](d.md)"), ("d.md", "")];
    let pages: BTreeMap<String, String> = pages.map(|(page, text)| (page.to_owned(), text.to_owned())).into();
    assert_eq!(paths(&pages)["d.md"], ["README.md", "b.md", "d.md"]);
}

/// Every page of the project, by its path.
fn pages() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = BTreeMap::new();
    for folder in [".", "docs", "docs/kickstart-rules", "lab", "ansible"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                let name = normal(path.strip_prefix(root).unwrap());
                pages.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    pages
}

/// The shortest way to each page that the README leads to.
fn paths(pages: &BTreeMap<String, String>) -> BTreeMap<String, Vec<String>> {
    let start = "README.md".to_owned();
    let mut paths = BTreeMap::from([(start.clone(), vec![start.clone()])]);
    let mut last = vec![start];
    while !last.is_empty() {
        let mut next = Vec::new();
        for page in last {
            for link in links(&pages[&page]) {
                let (file, _) = target(&page, &link);
                if pages.contains_key(&file) && !paths.contains_key(&file) {
                    let path = [paths[&page].as_slice(), std::slice::from_ref(&file)].concat();
                    paths.insert(file.clone(), path);
                    next.push(file);
                }
            }
        }
        last = next;
    }
    paths
}

/// The targets of the links within the project, outside of code.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(text) {
        let line: String = line.split('`').step_by(2).collect();
        for part in line.split("](").skip(1) {
            let target = part.split([')', ' ']).next().unwrap_or_default();
            if !target.contains("://") && !target.starts_with("mailto:") {
                found.push(target.to_owned());
            }
        }
    }
    found
}

/// The names of a page's headings, as code hosts make them.
fn slugs(text: &str) -> BTreeSet<String> {
    let mut slugs = BTreeSet::new();
    for line in prose(text).filter(|line| line.starts_with('#')) {
        let kept = line.trim_start_matches('#').trim().to_lowercase();
        let kept: String =
            kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_')).collect();
        let slug = kept.replace(' ', "-");
        let same = |number: usize| if number == 0 { slug.clone() } else { format!("{slug}-{number}") };
        let free = (0..).map(same).find(|slug| !slugs.contains(slug)).expect("there is always one");
        slugs.insert(free);
    }
    slugs
}

/// The lines outside of fenced blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// File and heading of a link on a page.
fn target(page: &str, link: &str) -> (String, String) {
    let (file, heading) = link.split_once('#').unwrap_or((link, ""));
    let file = match file {
        "" => page.to_owned(),
        file => normal(&Path::new(page).parent().unwrap_or(Path::new("")).join(file)),
    };
    (file, heading.to_owned())
}

/// Without `.` and `..`.
fn normal(path: &Path) -> String {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(normal.pop()),
            Component::CurDir => {}
            part => normal.push(part),
        }
    }
    normal.to_string_lossy().into_owned()
}
