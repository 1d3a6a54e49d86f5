//! The table of commands and the checks that hold for all of them.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;

/// What a command says: text, or text that says what is wrong.
pub(crate) type Outcome = Result<String, String>;
/// An answer that is not there yet.
pub(crate) type Deferred<C> = dyn FnMut(&mut C) -> Option<Outcome>;
/// Adds the next piece of a long text; false when that was the last.
pub(crate) type Pieces<C> = dyn FnMut(&mut C, &mut String) -> bool;
type Handler<C> = dyn Fn(&mut C, &[&str]) -> Reply<C>;

/// A command's answer.
pub(crate) enum Reply<C> {
    /// Here it is.
    Now(Outcome),
    /// Ask again every turn.
    Later(Box<Deferred<C>>),
    /// A text that is made as the client takes it.
    Stream(Box<Pieces<C>>),
}

/// One command.
pub(crate) struct Command<C> {
    usage: &'static str,
    min: usize,
    max: usize,
    listed: bool,
    handler: Box<Handler<C>>,
}

/// Commands by name.
pub(crate) struct Commands<C>(BTreeMap<&'static str, Command<C>>);

impl<C> Default for Commands<C> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<C> Commands<C> {
    /// Adds a command that answers at once.
    pub(crate) fn add(
        &mut self,
        name: &'static str,
        usage: &'static str,
        args: std::ops::RangeInclusive<usize>,
        handler: impl Fn(&mut C, &[&str]) -> Outcome + 'static,
    ) {
        self.add_slow(name, usage, args, move |c, a| Reply::Now(handler(c, a)));
    }

    /// Adds a command that may answer later.
    pub(crate) fn add_slow(
        &mut self,
        name: &'static str,
        usage: &'static str,
        args: std::ops::RangeInclusive<usize>,
        handler: impl Fn(&mut C, &[&str]) -> Reply<C> + 'static,
    ) {
        let (min, max) = (*args.start(), *args.end());
        self.0.insert(
            name,
            Command {
                usage,
                min,
                max,
                listed: true,
                handler: Box::new(handler),
            },
        );
    }

    /// The arguments that a command takes; nothing for one that is not there.
    pub(crate) fn usage(&self, name: &str) -> &'static str {
        self.0.get(name).map_or("", |c| c.usage)
    }

    /// Leaves a command out of the list.
    pub(crate) fn hide(&mut self, name: &str) {
        if let Some(command) = self.0.get_mut(name) {
            command.listed = false;
        }
    }

    /// Runs one request.
    pub(crate) fn run(&self, context: &mut C, method: &str, params: &Value) -> Reply<C> {
        let fail = |text: String| Reply::Now(Err(text));
        if method == "list-commands" {
            return Reply::Now(Ok(self.list()));
        }
        let Some(command) = self.0.get(method) else {
            return fail(format!(
                "\"{method}\" is not a valid command (use \"list-commands\" to see a list of valid commands)"
            ));
        };
        let params = params.as_array().map_or(&[][..], Vec::as_slice);
        if params.len() < command.min {
            return fail(format!(
                "\"{method}\" command requires at least {} arguments",
                command.min
            ));
        }
        if params.len() > command.max {
            return fail(format!(
                "\"{method}\" command takes at most {} arguments",
                command.max
            ));
        }
        match params
            .iter()
            .map(Value::as_str)
            .collect::<Option<Vec<&str>>>()
        {
            Some(args) => (command.handler)(context, &args),
            None => fail(format!("\"{method}\" command has non-string argument")),
        }
    }

    fn list(&self) -> String {
        let mut out = String::from("The available commands are:\n");
        let listed = self.0.iter().filter(|(_, c)| c.listed);
        let mut names: Vec<(&str, &str)> = listed.map(|(n, c)| (*n, c.usage)).collect();
        names.push(("list-commands", ""));
        names.sort_unstable();
        for (name, usage) in names {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "  {name:<23} {usage}");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn say(commands: &Commands<u32>, method: &str, params: Value) -> Outcome {
        match commands.run(&mut 5, method, &params) {
            Reply::Now(outcome) => outcome,
            Reply::Later(_) | Reply::Stream(_) => Err("later".to_owned()),
        }
    }

    #[test]
    fn arguments_are_checked_in_the_peers_words() {
        let mut c = Commands::default();
        c.add("add", "N", 1..=2, |five: &mut u32, args: &[&str]| {
            args[0]
                .parse::<u32>()
                .map(|n| (n + *five).to_string())
                .map_err(|e| e.to_string())
        });
        assert_eq!(say(&c, "add", json!(["2"])), Ok("7".to_owned()));
        assert!(
            say(&c, "add", json!([]))
                .unwrap_err()
                .ends_with("requires at least 1 arguments")
        );
        assert!(
            say(&c, "add", json!(["1", "2", "3"]))
                .unwrap_err()
                .contains("at most 2")
        );
        assert!(
            say(&c, "add", json!([5]))
                .unwrap_err()
                .contains("non-string")
        );
        assert!(
            say(&c, "x", json!([]))
                .unwrap_err()
                .contains("not a valid command")
        );
        let list = |c: &Commands<u32>| say(c, "list-commands", json!([])).unwrap();
        assert!(list(&c).contains("  add                     N\n"));
        c.hide("add");
        assert!(!list(&c).contains("  add") && say(&c, "add", json!(["2"])).is_ok());
    }
}
