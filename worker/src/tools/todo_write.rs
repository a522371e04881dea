//! `todo_write`: the to-do list of a conversation, which outlives what the model is told of it.

use copilot_shared::tool::plain::{Todo, TodoList, TodoStatus};
use copilot_shared::tool::{Concurrency, Repeat, ToolAnswer, ToolResponse};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Access, Tool, ToolContext, ToolFailure};

/// Keeps the to-do list.
pub(super) struct TodoWrite;

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Arguments {
    /// The whole list as it is from now on, in order; it replaces the old one. Left out: the list is only read.
    #[schemars(length(max = 100))]
    todos: Option<Vec<Entry>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// What is to be done.
    #[schemars(length(min = 1, max = 500))]
    content: String,
    /// How far it is.
    status: TodoStatus,
}

impl Tool for TodoWrite {
    type Arguments = Arguments;
    const NAME: &'static str = "todo_write";
    const DESCRIPTION: &'static str = "Writes the to-do list of this conversation, which the user sees. Use it for work \
        of several steps: write all of them first, mark one in_progress when you begin it and completed when it is \
        done. Without arguments it tells the list as it is.";
    const ACCESS: Access = Access::Open;
    const REPEAT: Repeat = Repeat::Safe;
    // The last list counts, so there must be a last one.
    const CONCURRENCY: Concurrency = Concurrency::Alone;

    async fn call(&self, context: &ToolContext, arguments: Arguments) -> Result<ToolAnswer, ToolFailure> {
        let store = &context.resources.store;
        let todos = match arguments.todos {
            None => store.todos(context.session_id).await?,
            Some(entries) => {
                let Some(todos) = todos(entries) else {
                    return Ok(ToolAnswer::error("blank_todo", "Every entry must say what is to be done."));
                };
                store.save_todos(context.fence(), context.session_id, &todos).await?;
                todos
            }
        };
        let done = todos.iter().filter(|todo| todo.status == TodoStatus::Completed).count();
        let message = match todos.len() {
            0 => "There is nothing to do.".to_owned(),
            all => format!("{done} of {all} done."),
        };
        Ok(ToolAnswer::new(message, ToolResponse::TodoList(TodoList { todos })))
    }
}

fn todos(entries: Vec<Entry>) -> Option<Vec<Todo>> {
    let todo = |entry: Entry| {
        let content = entry.content.trim().to_owned();
        (!content.is_empty()).then_some(Todo { content, status: entry.status })
    };
    entries.into_iter().map(todo).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_says_something() {
        let entry = |content: &str| Entry { content: content.into(), status: TodoStatus::Pending };
        let kept = todos(vec![entry(" one "), entry("two")]).unwrap();
        assert_eq!(kept.iter().map(|todo| todo.content.as_str()).collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(todos(vec![entry("one"), entry(" ")]), None);
        assert_eq!(todos(Vec::new()), Some(Vec::new()));
    }
}
