// Forms in which a password is typed. The fields that hold one have no name: no browser sends them.
import { Refused, signIn, verifier } from "./scram.js";

for (const form of document.querySelectorAll("form[data-scram]")) {
  const say = form.querySelector("[data-say]");
  const button = form.querySelector("button");
  const tell = (sentence, bad = false) => {
    say.textContent = sentence;
    say.classList.toggle("bad", bad);
  };
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      if (form.dataset.scram === "login") {
        tell("Signing in…");
        await signIn(form.querySelector("#name").value, form.querySelector("#password").value);
        location.assign(form.dataset.next);
        return;
      }
      const [fresh, again] = ["new", "again"].map((which) => form.querySelector(`[data-${which}]`));
      if (fresh.value !== again.value) throw new Refused("The two passwords differ.");
      tell("Stretching the password…");
      const made = await verifier(fresh.value, Number(form.dataset.iterations));
      form.elements.verifier.value = JSON.stringify(made);
      fresh.value = again.value = "";
      form.submit();
    } catch (error) {
      tell(error instanceof Refused ? error.message : "Something went wrong; is the Portal still there?", true);
      button.disabled = false;
      form.querySelector("input[type=password]").focus();
    }
  });
}
