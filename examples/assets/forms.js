// Forms in which a password is typed. The fields that hold one have no name: no browser sends them.
import { Refused, signIn, verifier } from "./scram.js";

for (const form of document.querySelectorAll("form[data-scram]")) {
  const button = form.querySelector("button");
  const status = form.querySelector("[data-status]");
  const password = form.querySelector("[data-password]"), again = form.querySelector("[data-again]");
  const fields = { name: form.querySelector("#name"), password, again };

  /** Says a sentence below the button, or beside the field that it is about. */
  const say = (sentence, field) => {
    status.textContent = field ? "" : sentence;
    for (const [name, input] of Object.entries(fields)) {
      if (!input) continue;
      const wrong = name === field;
      document.getElementById(`${name}-wrong`).textContent = wrong ? sentence : "";
      if (wrong) input.setAttribute("aria-invalid", "true");
      else input.removeAttribute("aria-invalid");
    }
    // Who does not see the page hears the sentence with the field.
    fields[field]?.focus();
  };

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    status.classList.remove("bad");
    button.disabled = true;
    try {
      if (form.dataset.scram === "login") {
        say("Signing in…");
        await signIn(fields.name.value, password.value);
        location.assign(form.dataset.next);
        return;
      }
      if (password.value !== again.value) throw new Refused("The two passwords differ.", "again");
      say("Stretching the password…");
      const made = await verifier(password.value, Number(form.dataset.iterations));
      form.elements.verifier.value = JSON.stringify(made);
      password.value = again.value = "";
      form.submit();
    } catch (error) {
      status.classList.add("bad");
      const known = error instanceof Refused;
      say(known ? error.message : "Something went wrong in this page. Load it again.", known ? error.field : undefined);
      if (!known) console.error(error);
      button.disabled = false;
    }
  });
}
