// The description beside this page, for people. A key that is entered stays in this page and is gone with it.
"use strict";

window.addEventListener("DOMContentLoaded", () => {
  SwaggerUIBundle({
    url: "openapi.json",
    domNode: document.getElementById("api"),
    deepLinking: true,
    docExpansion: "list",
    defaultModelsExpandDepth: 0,
    persistAuthorization: false,
    // Nothing is told to anybody else.
    validatorUrl: null,
  });
});
