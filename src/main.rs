//! The multi-call binary: the name it is called by, or the first word, picks what it does.

fn main() -> std::process::ExitCode {
    nullbeat::cli::main()
}
