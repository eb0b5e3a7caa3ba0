// What a page can do without is here: it works as well where no script runs.

const COPIED_MS = 1500;

for (const button of document.querySelectorAll("[data-copy]")) {
  const source = document.getElementById(button.dataset.copy);
  if (!source || !navigator.clipboard) continue;
  const name = button.textContent;
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Mark it, and copy it by hand";
    }
    setTimeout(() => { button.textContent = name; }, COPIED_MS);
  });
}

// Where the tabs are one line that moves sideways, the page's own is to be seen.
document.querySelector(".tabs [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
