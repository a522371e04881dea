//! The tools for the folders of a user's library (`usage-tools.md` §7.2): one below this module each.

use std::collections::BTreeMap;

use copilot_shared::id::FolderId;
use copilot_shared::store::{Folder, FolderError};
use copilot_shared::tool::folders::{FolderInfo, FolderTree};

use super::ToolFailure;

mod create_folder;
mod delete_folder;
mod list_folders;
mod move_folder;
mod update_folder;

pub(super) use create_folder::CreateFolder;
pub(super) use delete_folder::DeleteFolder;
pub(super) use list_folders::ListFolders;
pub(super) use move_folder::MoveFolder;
pub(super) use update_folder::UpdateFolder;

/// The longest name, in characters.
const NAME_CHARS: usize = 100;
/// The longest icon or colour, in characters.
const LOOK_CHARS: usize = 50;

/// A folder's id as a model gives it, or what it is told instead.
fn id(text: &str, code: &str) -> Result<FolderId, ToolFailure> {
    let text = text.trim();
    if text.is_empty() {
        return Err(ToolFailure::refused("missing_folder_id", "Say which folder; list_folders tells their ids."));
    }
    text.parse().map_err(|_| ToolFailure::refused(code, format!("There is no folder {text:?}.")))
}

/// The folder that is named, if one is; blank is as good as none.
fn optional_id(text: Option<&str>, code: &str) -> Result<Option<FolderId>, ToolFailure> {
    text.filter(|text| !text.trim().is_empty()).map(|text| id(text, code)).transpose()
}

/// A text on one line, unless it says nothing.
fn said(text: Option<String>) -> Option<String> {
    let line = text.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
    line.filter(|line| !line.is_empty())
}

/// What a change failed with: what the library refuses is said no to, everything else broke.
fn unchanged(error: FolderError, code: &str) -> ToolFailure {
    match error {
        FolderError::Fenced(error) => error.into(),
        refusal => ToolFailure::refused(code, refusal.to_string()),
    }
}

/// A folder as it is shown, with how many folders lie in it.
fn shown(folder: &Folder, all: &[Folder]) -> FolderInfo {
    let inside = all.iter().filter(|other| other.parent_id == Some(folder.id)).count();
    FolderInfo {
        id: folder.id.to_string(),
        name: folder.name.clone(),
        parent_id: folder.parent_id.map(|parent| parent.to_string()),
        icon: folder.icon.clone(),
        color: folder.color.clone(),
        agent_count: 0,
        subfolder_count: u64::try_from(inside).unwrap_or(u64::MAX),
        agents: None,
    }
}

/// The folders below `parent`, one in the other. Folders are never in a circle, so this ends.
fn tree(parent: Option<FolderId>, all: &[Folder]) -> Vec<FolderTree> {
    let mut by_parent: BTreeMap<Option<FolderId>, Vec<&Folder>> = BTreeMap::new();
    for folder in all {
        by_parent.entry(folder.parent_id).or_default().push(folder);
    }
    branches(parent, &by_parent, all)
}

fn branches(
    parent: Option<FolderId>,
    by_parent: &BTreeMap<Option<FolderId>, Vec<&Folder>>,
    all: &[Folder],
) -> Vec<FolderTree> {
    let here = by_parent.get(&parent).map(Vec::as_slice).unwrap_or_default();
    here.iter()
        .map(|folder| FolderTree { folder: shown(folder, all), children: branches(Some(folder.id), by_parent, all) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use copilot_shared::tool::ToolResponse;

    #[test]
    fn an_id_is_an_id_and_the_model_is_told_if_it_is_none() {
        let code = |text: &str| {
            let Err(ToolFailure::Refused(answer)) = id(text, "move_folder_failed") else { panic!("it says no") };
            let ToolResponse::Error(error) = answer.response else { panic!("{answer:?}") };
            error.error.unwrap()
        };
        assert_eq!((code(" ").as_str(), code("inbox").as_str()), ("missing_folder_id", "move_folder_failed"));
        let known = FolderId::generate();
        assert_eq!(optional_id(Some(&known.to_string()), "c").unwrap(), Some(known));
        assert_eq!(optional_id(Some(" "), "c").unwrap(), None);
    }

    #[test]
    fn folders_lie_in_each_other() {
        let folder = |name: &str, parent_id| Folder {
            id: FolderId::generate(),
            parent_id,
            name: name.into(),
            icon: None,
            color: None,
        };
        let a = folder("a", None);
        let b = folder("b", Some(a.id));
        let (c, d) = (folder("c", Some(b.id)), folder("d", None));
        let all = [a.clone(), b.clone(), c, d];
        let top = tree(None, &all);
        assert_eq!(top.iter().map(|tree| tree.folder.name.as_str()).collect::<Vec<_>>(), ["a", "d"]);
        assert_eq!(top[0].children[0].children[0].folder.name, "c");
        assert_eq!((top[0].folder.subfolder_count, top[1].folder.subfolder_count), (1, 0));
        assert_eq!(tree(Some(b.id), &all)[0].folder.name, "c");
    }
}
