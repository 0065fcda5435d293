//! Writes one of the golden tests' checkpoints, for `golden/make.py` to read: `synth CASE DIR`.

#[path = "../tests/golden/cases.rs"]
mod cases;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(name), Some(out)) = (arguments.next(), arguments.next()) else {
        let names: Vec<&str> = cases::CASES.iter().map(|case| case.name).collect();
        return Err(format!("usage: synth CASE DIR, where CASE is one of {}", names.join(", ")).into());
    };
    let case = cases::CASES.iter().find(|case| case.name == name);
    let case = case.ok_or_else(|| format!("there is no case {name}"))?;
    let written = engine_model::synth(&case.synth(out.into()))?;
    println!("{} parameters, {} tokens", written.parameters, written.vocab);
    Ok(())
}
