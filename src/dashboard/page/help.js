// What the figures and pictures mean: a "?" beside each, which opens a sentence or two.

import { make } from './text.js';

const texts = {
  iteration: ['an iteration', 'In an iteration the class computes a set of units, and the server averages them into new weights once. The higher the number, the longer the networks have trained.'],
  epoch: ['an epoch', 'How many times each image of the class has been used. 2.5 means: all images twice, and half of them a third time.'],
  images: ['images per second', 'How many real images the computers of the class process per second, all together, over the last ten iterations. More workers make it higher.'],
  rate: ['iterations per minute', 'How often the server has averaged the class’s results, over the last ten iterations.'],
  loss_d: ['the loss of D', 'How wrong the discriminator D is when it tells real images from generated ones. 1.39 means that it guesses, 0 that it is never wrong. Values in between are good: near 0 the generator has nothing to learn from.'],
  loss_g: ['the loss of G', 'How clearly D sees that the generator G’s images are not real. At 0.69 D guesses. It need not fall, because D gets better, too. If it stays above 5 for long, D has won.'],
  swd: ['the distance', 'The sliced Wasserstein distance (SWD) says how much the generated images differ from real ones. Lower is better: faces appear at about 80, and two sets of real images have a distance of about 7.'],
  eta: ['to go', 'How long the remaining iterations take at the speed of the last ten.'],
  units: ['a unit', 'A unit is a packet of images that one worker computes. A tile fills while its unit is computed and turns green when the unit is done. When enough units are done, the next iteration begins.'],
  losses: ['the losses', 'How wrong each network is. Neither line has to fall: the networks learn against each other. It is a good sign if both keep moving and neither runs away.'],
  right: ['this curve', 'The share of images that D classifies correctly. 50 % means that it guesses. If it stays at 100 % for long, the generator learns little.'],
  class: ['this table', 'Images: real images whose results were averaged into the model. Share: of all these images. Units: packets of images. Cores: of the computers that take part now.'],
};

let made = 0;

// Makes the button and the text that it opens. The caller places them.
export function helpOn(key) {
  const [name, text] = texts[key];
  const button = make('button', 'help', '?');
  const answer = make('p', 'answer', text);
  button.type = 'button';
  button.setAttribute('aria-label', `What is ${name}?`);
  button.setAttribute('aria-expanded', 'false');
  answer.id = `help-${made++}`;
  answer.hidden = true;
  button.setAttribute('aria-controls', answer.id);
  button.addEventListener('click', () => {
    answer.hidden = !answer.hidden;
    button.setAttribute('aria-expanded', String(!answer.hidden));
  });
  button.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && !answer.hidden) button.click();
  });
  return { button, answer };
}

// Gives each heading that names a text (data-help) its button, and the text below it.
export function dressHeadings() {
  for (const heading of document.querySelectorAll('[data-help]')) {
    const { button, answer } = helpOn(heading.dataset.help);
    const line = make('div', 'heading');
    heading.replaceWith(line);
    line.append(heading, button);
    line.after(answer);
  }
}
