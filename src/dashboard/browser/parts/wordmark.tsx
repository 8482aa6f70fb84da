/** The product's sign and name. */
export function Wordmark() {
  return (
    <span class="wordmark">
      <svg viewBox="0 0 32 32" width="24" height="24" aria-hidden="true">
        <rect class="wordmark-ground" width="32" height="32" rx="7" />
        <path class="wordmark-lines" d="M7 10.5h18M7 16h12M7 21.5h7" />
        <circle class="wordmark-coin" cx="23.5" cy="21.5" r="2.5" />
      </svg>
      Spendra
    </span>
  );
}
