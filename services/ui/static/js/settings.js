/** The settings page: only the chosen strategy shows its options; leaving with something unsaved is asked first. */

const form = document.getElementById("settings-form");

function drawOptions() {
  for (const strategy of form.querySelectorAll(".strategy")) {
    const chosen = strategy.querySelector("[name=strategy]").checked;
    const options = strategy.querySelector(".options");
    if (options) options.hidden = !chosen;
  }
}

form.addEventListener("change", drawOptions);
drawOptions();

/** What each form held when the page came. */
const forms = [...document.querySelectorAll("main form")].map((one) => [one, state(one)]);
let sending = false;

function state(one) {
  return new URLSearchParams(new FormData(one)).toString();
}

for (const [one] of forms) one.addEventListener("submit", () => (sending = true));
addEventListener("beforeunload", (event) => {
  if (!sending && forms.some(([one, before]) => state(one) !== before)) event.preventDefault();
});
addEventListener("pageshow", () => (sending = false));
