//! `estafette passwd`: the embedded password file.
//!
//! **Does not** tell the running relay: `estafette reload` does.

pub(super) mod arguments;
mod prompt;

use std::path::Path;
use std::process::ExitCode;

use arguments::PasswdArguments;

use super::configuration::{NO, WRONG, password_file};
use super::terminal::{print, printable};
use crate::io::password_edit::{self, Change};
use crate::io::password_file::{self, PasswordFile};
use crate::wire::sasl::Secret;

pub(super) fn run(arguments: &PasswdArguments) -> ExitCode {
    let path = match arguments
        .file
        .clone()
        .map_or_else(|| password_file(&arguments.config.config), Ok)
    {
        Ok(path) => path,
        Err(code) => return code,
    };
    match act(arguments, &path) {
        Ok(code) => code,
        Err(why) => {
            eprintln!("estafette: {}", printable(&why).replace("\\n", "\n"));
            ExitCode::from(WRONG)
        }
    }
}

fn act(arguments: &PasswdArguments, path: &Path) -> Result<ExitCode, String> {
    let Some(login) = &arguments.login else {
        return list(path);
    };
    if !password_file::is_login(login) {
        return Err(format!(
            "{login:?} cannot be a login: 1 to 255 octets without ':', control characters, '#' at its beginning or white \
             space at its ends"
        ));
    }
    if arguments.delete {
        return delete(path, login);
    }
    if arguments.verify {
        let file = read(path)?;
        let password = ask(arguments, login, Asked::Once)?;
        let is_right = file.verify(login, password.octets());
        print(if is_right { "right\n" } else { "wrong\n" });
        return Ok(ExitCode::from(if is_right { 0 } else { NO }));
    }
    let password = ask(arguments, login, Asked::Twice)?;
    let hash = password_file::hash(password.octets())?;
    let what = match password_edit::set(path, login, &hash)? {
        Change::Replaced => "replaced",
        _ => "added",
    };
    done(&format!("{what} {} in {}", printable(login), path.display()));
    Ok(ExitCode::SUCCESS)
}

/// How often a password is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Once,
    Twice,
}

fn ask(arguments: &PasswdArguments, login: &str, asked: Asked) -> Result<Secret, String> {
    if arguments.stdin {
        return prompt::from_stdin();
    }
    let password = prompt::from_terminal(&format!("Password of {}", printable(login)))?;
    if asked == Asked::Twice && prompt::from_terminal("Once more")? != password {
        return Err("the two differ, nothing was changed".to_owned());
    }
    Ok(password)
}

fn delete(path: &Path, login: &str) -> Result<ExitCode, String> {
    if password_edit::remove(path, login)? == Change::Absent {
        eprintln!("estafette: {} has no {}", path.display(), printable(login));
        return Ok(ExitCode::from(NO));
    }
    done(&format!("deleted {} from {}", printable(login), path.display()));
    Ok(ExitCode::SUCCESS)
}

fn list(path: &Path) -> Result<ExitCode, String> {
    let file = read(path)?;
    let mut logins: Vec<&str> = file.logins().collect();
    logins.sort_unstable();
    let lines: String = logins.iter().map(|login| format!("{}\n", printable(login))).collect();
    print(&lines);
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> Result<PasswordFile, String> {
    PasswordFile::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn done(what: &str) {
    print(&format!("{what}; estafette reload makes the running relay use it\n"));
}
