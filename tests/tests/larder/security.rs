//! What `SECURITY.md` claims is shown by tests that are there.

use std::fs;
use std::path::Path;

/// All Rust sources of the workspace, as one text.
fn sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("readable").path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            sources(&path, text);
        } else if name.ends_with(".rs") {
            text.push_str(&fs::read_to_string(&path).expect("text"));
        }
    }
}

#[test]
fn every_test_that_the_security_page_names_is_there() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = fs::read_to_string(workspace.join("SECURITY.md")).expect("a page");
    let mut text = String::new();
    sources(&workspace, &mut text);
    let quoted = page.split('`').skip(1).step_by(2);
    let named: Vec<&str> = quoted
        .filter(|name| name.matches('_').count() > 2)
        .collect();
    assert!(named.len() > 30, "{named:?}");
    for name in named {
        assert!(
            text.contains(&format!("fn {name}(")),
            "there is no test {name}"
        );
    }
}
